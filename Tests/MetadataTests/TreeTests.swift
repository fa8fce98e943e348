import Metadata
import ObjectStore
import Testing
import ThawCore
import ThawTesting
import Wire

private func time(_ seconds: Int64) -> Timestamp { Timestamp(seconds: seconds) }

@Suite("directories that we make, move and remove")
struct TreeTests {
    /// Everything below `a/` was listed at 100, and so were its neighbours.
    private func listed() async throws -> Fixture {
        let fixture = try Fixture()
        for (prefix, names) in [
            ("", ["a", "a/", "b"]), ("a/", ["one", "sub/"]), ("a/sub/", ["two"]), ("a0/", ["beside"]),
        ] {
            let listing = try await fixture.writer.beginListing(ObjectKey(prefix), at: time(100))
            for name in names {
                let kind = name.hasSuffix("/") ? MetadataRow.Kind.directory(attributesOfATest) : object()
                try await fixture.record([name], kind, at: 100, listing: listing, below: ObjectKey(prefix))
            }
            try await fixture.writer.finishListing(ObjectKey(prefix), listing: listing)
        }
        return fixture
    }

    @Test("a directory that moved away is absent, nothing is known below it, and its neighbours are as they were")
    func forgotten() async throws {
        let fixture = try await listed()
        try await fixture.writer.forgetTree(below: ObjectKey("a/"), at: time(200))
        #expect(try await fixture.row("a/")?.kind == .absent)
        #expect(try await fixture.row("a/")?.checkedAt == time(200))
        #expect(try await fixture.names() == ["a", "b"])
        for prefix in ["a/", "a/sub/"] {
            #expect(try await fixture.reader.state(of: ObjectKey(prefix)).listedAt == .epoch)
            #expect(try await fixture.names(below: ObjectKey(prefix)).isEmpty)
        }
        #expect(try await fixture.row("one", below: ObjectKey("a/")) == nil)
        #expect(try await fixture.names(below: ObjectKey("a0/")) == ["beside"])
        #expect(try await fixture.reader.state(of: .empty).listedAt == time(100))
    }

    @Test("what was known of attributes goes along with a directory that is renamed, and everything is asked for again")
    func renamed() async throws {
        let fixture = try await listed()
        try await fixture.record(["gone"], at: 100, listing: 0, below: ObjectKey("z/"))
        try await fixture.writer.moveTree(from: ObjectKey("a/"), to: ObjectKey("z/y/"), at: time(200))
        #expect(try await fixture.row("a/")?.kind == .absent)
        #expect(try await fixture.row("one", below: ObjectKey("a/")) == nil)
        let moved = try #require(try await fixture.row("sub/", below: ObjectKey("z/y/")))
        #expect(moved.checkedAt == .epoch)
        #expect(moved.kind == .directory(attributesOfATest))
        #expect(try await fixture.row("two", below: ObjectKey("z/y/sub/"))?.checkedAt == .epoch)
        #expect(try await fixture.reader.state(of: ObjectKey("z/y/")).listedAt == .epoch)
        #expect(try await fixture.names(below: ObjectKey("a0/")) == ["beside"])
    }

    @Test("a nested directory is absent in its own parent; the root has none")
    func nested() async throws {
        let fixture = try await listed()
        try await fixture.writer.forgetTree(below: ObjectKey("a/sub/"), at: time(200))
        #expect(try await fixture.names(below: ObjectKey("a/")) == ["one"])
        #expect(try await fixture.names() == ["a", "a/", "b"])
        try await fixture.writer.forgetTree(below: .empty, at: time(300))
        #expect(try await fixture.names().isEmpty)
        #expect(try await fixture.names(below: ObjectKey("a0/")).isEmpty)
    }

    @Test("what was asked before it moved and is answered after says nothing; what is asked after does")
    func late() async throws {
        let fixture = try await listed()
        let underWay = try await fixture.writer.beginListing(ObjectKey("a/"), at: time(190))
        try await fixture.writer.forgetTree(below: ObjectKey("a/"), at: time(200))
        try await fixture.record(["one"], at: 199, listing: underWay, below: ObjectKey("a/"))
        try await fixture.writer.finishListing(ObjectKey("a/"), listing: underWay)
        #expect(try await fixture.row("one", below: ObjectKey("a/")) == nil)
        #expect(try await fixture.reader.state(of: ObjectKey("a/")).listedAt == .epoch)
        try await fixture.record(["a/"], .directory(nil), at: 199, listing: 0)
        #expect(try await fixture.row("a/")?.kind == .absent)
        try await fixture.record(["new"], at: 200, listing: 0, below: ObjectKey("a/"))
        #expect(try await fixture.row("new", below: ObjectKey("a/")) != nil)
    }

    @Test("a clock that was set back does not make a directory deaf")
    func clock() async throws {
        let fixture = try await listed()
        try await fixture.writer.forgetTree(below: ObjectKey("a/"), at: time(200))
        try await fixture.record(["new"], at: 139, listing: 0, below: ObjectKey("a/"))
        #expect(try await fixture.row("new", below: ObjectKey("a/")) != nil)
    }

    @Test("a directory that was made is known to be empty, and shows what comes into it")
    func made() async throws {
        let fixture = try await listed()
        try await fixture.writer.beginEmpty(directory: ObjectKey("a/"), at: time(200))
        let state = try await fixture.reader.state(of: ObjectKey("a/"))
        #expect(state.listedAt == time(200) && state.startedAt == time(200))
        #expect(try await fixture.names(below: ObjectKey("a/")).isEmpty)
        #expect(try await fixture.names(below: ObjectKey("a/sub/")).isEmpty)
        try await fixture.record(["file"], at: 201, listing: 0, below: ObjectKey("a/"))
        #expect(try await fixture.names(below: ObjectKey("a/")) == ["file"])
        // Its name in the parent is told by what the store answered.
        #expect(try await fixture.row("a/")?.kind == .directory(attributesOfATest))
    }

    @Test("names that are there are counted: seen since then, no further than asked, not those below them")
    func counted() async throws {
        let fixture = try await listed()
        func count(_ prefix: String, since seconds: Int64 = 100, limit: Int = 9) async throws -> Int {
            try await fixture.reader.countPresent(below: ObjectKey(prefix), since: time(seconds), limit: limit)
        }
        #expect(try await count("a/") == 2)
        #expect(try await count("a/", limit: 1) == 1)
        #expect(try await count("a/", since: 101) == 0)
        #expect(try await count("nowhere/") == 0)
        try await fixture.record(["one"], .absent, at: 200, listing: 0, below: ObjectKey("a/"))
        #expect(try await count("a/") == 1)
        #expect(try await count("a/sub/") == 1)
    }
}
