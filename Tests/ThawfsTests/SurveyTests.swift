import Metadata
import ObjectStore
import Restore
import Testing
import ThawCore
import Wire

@testable import thawfs

private func billed(requests: Int?, bytes: Int?, byteDays: Int?) -> JSON {
    [
        "retrieval_requests": JSON(requests), "retrieved_bytes": JSON(bytes),
        "temporary_copy_byte_days": JSON(byteDays),
    ]
}

@Suite("what a restore would come to")
struct SurveyTests {
    private static func row(
        _ name: String, _ tier: RestoreTier?, days: Int?, frozen: Tally, extended: Tally = Tally(),
        longest: Duration? = nil
    ) throws -> Survey.Row {
        try #require(
            Survey.Row([
                "storage_class": .string(name), "days": JSON(days), "tier": JSON(tier?.rawValue),
                "frozen": frozen.json, "extended": extended.json, "restoring": Tally().json, "restored": Tally().json,
                "longest_seconds": JSON(longest.map { Int($0.components.seconds) }),
            ]))
    }

    private static let some = Tally(objects: 10, bytes: 1000)

    @Test(
        "OSS counts requests and copies of the two cold classes, and of Archive only what is retrieved",
        arguments: [
            ("Archive", billed(requests: nil, bytes: 1000, byteDays: nil)),
            ("ColdArchive", billed(requests: 10, bytes: 1000, byteDays: 3000)),
            ("DeepColdArchive", billed(requests: 10, bytes: 1000, byteDays: 3000)),
            ("GLACIER", billed(requests: 10, bytes: 1000, byteDays: 3000)),
            ("DEEP_ARCHIVE", billed(requests: 10, bytes: 1000, byteDays: 3000)),
        ])
    func quantities(name: String, expected: JSON) throws {
        #expect(try Self.row(name, .standard, days: 3, frozen: Self.some).billed.json == expected)
    }

    @Test("S3 Intelligent-Tiering makes no copy, and charges for Expedited only")
    func intelligentTiering() throws {
        let free = try Self.row("INTELLIGENT_TIERING", .bulk, days: nil, frozen: Self.some).billed
        #expect(free.json == billed(requests: nil, bytes: nil, byteDays: nil))
        #expect(free.text(tier: .bulk) == "nothing")
        let fast = try Self.row("INTELLIGENT_TIERING", .expedited, days: nil, frozen: Self.some).billed
        #expect(fast.json == billed(requests: 10, bytes: 1000, byteDays: nil))
    }

    @Test("a copy that is to last longer is kept, and not retrieved again")
    func extended() throws {
        let row = try Self.row("GLACIER", .bulk, days: 2, frozen: Tally(), extended: Self.some)
        #expect(row.billed.json == billed(requests: 0, bytes: 0, byteDays: 2000))
    }

    @Test("byte-days that no number holds are the largest number")
    func overflow() throws {
        let row = try Self.row("GLACIER", .bulk, days: 1 << 30, frozen: Tally(objects: 1, bytes: 1 << 50))
        #expect(row.billed.byteDays == .max)
    }

    @Test("parts of one survey add up by class and order")
    func sums() throws {
        var total = Survey()
        for days in [1, 2, 1] {
            var part = Survey()
            part.rows = [try Self.row("GLACIER", .bulk, days: days, frozen: Self.some)]
            part.online = Tally(objects: 1, bytes: 5)
            part.missing = [ObjectKey("gone")]
            total.add(part)
        }
        #expect(total.rows.map(\.frozen.objects) == [20, 10])
        #expect(total.online == Tally(objects: 3, bytes: 15))
        #expect(total.missing.count == 3)
        #expect(try #require(Survey(total.json)).json == total.json)
    }

    @Test("a request is told by its objects, and by what each class is asked for")
    func text() throws {
        var survey = Survey()
        survey.rows = [
            try Self.row("ColdArchive", .bulk, days: 7, frozen: Tally(objects: 1000, bytes: 1_319_413_953_331),
                         longest: .seconds(12 * 3600))
        ]
        #expect(survey.requestText == "1,000 objects, 1.2 TiB (ColdArchive, Bulk, up to 12 h)")
        survey.rows.append(
            try Self.row("Archive", nil, days: 7, frozen: Tally(objects: 1, bytes: 1), longest: .seconds(60)))
        #expect(
            survey.requestText
                == "1,001 objects, 1.2 TiB (1,000 ColdArchive, Bulk, up to 12 h; 1 Archive, up to 1 min)")
    }
}

@Suite("what paths are restored")
struct PathSelectionTests {
    private static func reduced(_ scopes: [RestoreScope]) -> [String] {
        PathSelection.reduced(scopes).map(\.json.text)
    }

    private static func file(_ key: String, version: String? = nil) -> RestoreScope {
        RestoreScope(.object, ObjectKey(key), version: version)
    }

    private static func tree(_ key: String) -> RestoreScope { RestoreScope(.tree, ObjectKey(key)) }

    @Test("what is named twice counts once, in the order of the first")
    func duplicates() {
        let scopes = [
            Self.file("b"), Self.file("a"), Self.file("b"), Self.file("a", version: "1"), Self.tree("c/"),
            Self.tree("c/"),
        ]
        #expect(Self.reduced(scopes) == [scopes[0], scopes[1], scopes[3], scopes[4]].map(\.json.text))
    }

    @Test("what lies below a directory that is named too counts with it, but for versions")
    func nested() {
        let scopes = [
            Self.tree("a/"), Self.tree("a/b/"), Self.file("a/b/c"), Self.file("ab"), Self.file("a"),
            Self.file("a/x", version: "7"),
        ]
        #expect(Self.reduced(scopes) == [scopes[0], scopes[3], scopes[4], scopes[5]].map(\.json.text))
        #expect(Self.reduced([Self.tree(""), Self.tree("a/"), Self.file("b")]) == [Self.tree("").json.text])
    }

    @Test("a key travels whatever its bytes are")
    func bytes() throws {
        let scope = RestoreScope(.object, ObjectKey((0...255).map { UInt8($0) }), version: "null")
        let json = try #require(JSON(Array(scope.json.text.utf8)))
        let back = try #require(RestoreScope(json))
        #expect(back.key == scope.key)
        #expect(back.version == "null")
    }

    @Test(
        "--wait needs no value, and takes one only after an equals sign",
        arguments: [
            (["restore", "--wait", "f"], ["restore", "--wait=forever", "f"]),
            (["restore", "--wait=5m", "f"], ["restore", "--wait=5m", "f"]),
            (["restore", "--", "--wait"], ["restore", "--", "--wait"]),
        ])
    func wait(given: [String], expected: [String]) { #expect(RestoreCommand.rewritten(given) == expected) }
}

@Suite("tables")
struct TextTableTests {
    @Test("columns are as wide as their widest cell, and lines end without blanks")
    func columns() {
        let table = TextTable(rightAligned: [1], rows: [["name", "n", "end"], ["a", "1,000", ""], ["longer", "2", "x"]])
        #expect(table.lines == ["name        n  end", "a       1,000", "longer      2  x"])
    }
}
