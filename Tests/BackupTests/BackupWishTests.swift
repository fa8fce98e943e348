import Testing

@testable import Backup

@Suite("what is written into user.thaw.restore for a backup")
struct BackupWishTests {
    @Test("vault and snapshot, with any number of paths, whose commas are escaped")
    func parsed() throws {
        let plain = try BackupWish(parsing: "from=hbr:v-1/s-1")
        #expect(plain.vault == "v-1" && plain.snapshot == "s-1" && plain.include.isEmpty && plain.exclude.isEmpty)
        let full = try BackupWish(parsing: #"include=/a\,b,from=hbr:v/s,exclude=/c=d,include=/e\\"#)
        #expect(full.include == ["/a,b", "/e\\"] && full.exclude == ["/c=d"])
    }

    @Test("a text is about a backup when it says where from", arguments: [
        ("from=hbr:v/s", true), ("days=7,from=x", true), ("from=", true), ("days=7", false), ("", false),
        ("include=from=x", false),
    ])
    func meant(text: String, isMeant: Bool) {
        #expect(BackupWish.isMeant(by: text) == isMeant)
    }

    @Test("what does not parse is refused", arguments: [
        "from=", "from=hbr:v", "from=hbr:v/", "from=hbr:/s", "from=hbr:v/s/t", "from=oss:v/s", "include=/a",
        "from=hbr:v/s,days=7", "from=hbr:v/s,from=hbr:v/s", "from=hbr:v/s,include=", "from=hbr:v/s,",
    ])
    func refused(text: String) {
        _ = #expect(throws: BackupRefusal.self) { try BackupWish(parsing: text) }
    }
}
