import Testing
import ThawCore

@testable import Wire

@Suite("file attributes in user metadata")
struct FileAttributesTests {
    @Test(
        "a mode is read as the program meant it that wrote it",
        arguments: [
            ("33188", 0o100644), ("16877", 0o040755), ("41471", 0o120777), ("33279", 0o100777), ("35309", 0o104755),
            // rclone: octal.
            ("100644", 0o100644), ("0100644", 0o100644), ("40755", 0o040755), ("40700", 0o040700),
            ("41777", 0o041777), ("42755", 0o042755), ("120777", 0o120777), ("0644", 0o644),
            ("420", 0o644), ("0", 0),
        ]
    )
    func mode(_ text: String, _ mode: UInt32) {
        #expect(FileAttributes(metadata: ["mode": text]).mode == mode)
    }

    @Test("what is no number is not there", arguments: ["", "-1", "rw-r--r--", "99999", "4294967296", "0x1ff", "+1"])
    func noNumber(_ text: String) {
        let attributes = FileAttributes(metadata: ["mode": text, "mtime": "x" + text])
        #expect(attributes.mode == nil)
        #expect(attributes.modified == nil)
    }

    @Test(
        "times are seconds with a fraction, or dates",
        arguments: [
            ("1600000000", 1_600_000_000_000_000_000), ("1600000000.123456789", 1_600_000_000_123_456_789),
            ("1600000000.5", 1_600_000_000_500_000_000), ("1600000000.1234567891", 1_600_000_000_123_456_789),
            ("-1.25", -1_250_000_000), ("0", 0), ("2006-01-02T15:04:05.999999999Z", 1_136_214_245_999_999_999),
            ("2006-01-02T15:04:05+02:00", 1_136_207_045_000_000_000),
            ("2006-01-02T15:04:05.5-00:30", 1_136_216_045_500_000_000),
        ]
    )
    func times(_ text: String, _ nanoseconds: Int64) {
        #expect(FileAttributes(metadata: ["mtime": text]).modified == Timestamp(nanoseconds: nanoseconds))
    }

    @Test(
        "what is no time is not there",
        arguments: [
            "", ".", "1.", ".5", "1e9", "1.2.3", "99999999999999", "2006-01-02T15:04:05", "2006-01-02T15:04:05+2",
        ]
    )
    func noTime(_ text: String) {
        #expect(FileAttributes(metadata: ["mtime": text]).modified == nil)
    }

    @Test("an object of s3fs is read, and written as s3fs does")
    func s3fs() {
        let metadata = [
            "mode": "33188", "uid": "1000", "gid": "100", "mtime": "1600000000.000000042",
            "xattr": "%7B%22user.comment%22%3A%22aGVsbG8%3D%22%7D", "ctime": "1600000001", "atime": "1600000002",
        ]
        var attributes = FileAttributes(metadata: metadata)
        #expect(
            attributes
                == FileAttributes(
                    mode: 0o100644, uid: 1000, gid: 100, modified: Timestamp(nanoseconds: 1_600_000_000_000_000_042),
                    extended: ["user.comment": Array("hello".utf8)]))
        #expect(attributes.merged(into: metadata) == metadata)
        #expect(
            attributes.merged(into: [:])
                == [
                    "mode": "33188", "uid": "1000", "gid": "100", "mtime": "1600000000.000000042",
                    "xattr": "%7B%22user.comment%22%3A%22aGVsbG8%3D%22%7D",
                ])
        attributes.mode = 0o100600
        attributes.extended = [:]
        attributes.uid = nil
        let changed = attributes.merged(into: metadata)
        #expect(changed["mode"] == "33152")
        #expect(changed["xattr"] == nil)
        #expect(changed["uid"] == nil)
        #expect(changed["ctime"] == "1600000001")
    }

    @Test("an object of rclone is read, and what does not change stays as rclone wrote it")
    func rclone() {
        let metadata = [
            "mode": "100755", "uid": "500", "gid": "500", "mtime": "2006-01-02T15:04:05.999999999Z",
            "btime": "2006-01-02T15:04:05.999999999Z",
        ]
        var attributes = FileAttributes(metadata: metadata)
        #expect(attributes.mode == 0o100755)
        attributes.uid = 501
        #expect(attributes.merged(into: metadata) == metadata.merging(["uid": "501"]) { $1 })
    }

    @Test("extended attributes of any bytes come back, and a value that is not ours is kept")
    func extended() {
        let values = ["user.a": [UInt8](0...255), "user.é \"\\": [], "trusted.x": [0]]
        let written = FileAttributes(extended: values).merged(into: [:])
        #expect(written["xattr"]?.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F } == true)
        #expect(FileAttributes(metadata: written).extended == values)
        #expect(FileAttributes(mode: 0o100644).merged(into: ["xattr": "?", "who": "x"])
            == ["mode": "33188", "xattr": "?", "who": "x"])
    }

    @Test("times before 1970 come back")
    func negative() {
        for nanoseconds in [-1, -1_000_000_000, -1_500_000_000, .min / 2] as [Int64] {
            let attributes = FileAttributes(modified: Timestamp(nanoseconds: nanoseconds))
            #expect(FileAttributes(metadata: attributes.merged(into: [:])) == attributes)
        }
        #expect(FileAttributes(modified: Timestamp(nanoseconds: -1)).merged(into: [:])["mtime"] == "-0.000000001")
    }

    @Test("two kilobytes fit on S3, eight on OSS")
    func limits() {
        let large = ["a": String(repeating: "x", count: 2048 - 12)]
        #expect(FileAttributes.fits(large, .s3))
        #expect(!FileAttributes.fits(["a": large["a", default: ""] + "x"], .s3))
        #expect(FileAttributes.fits(["a": large["a", default: ""] + "x"], .oss))
        #expect(!FileAttributes.fits(["a": String(repeating: "x", count: 8192)], .oss))
    }
}
