import Metadata
import ObjectStore
import Testing
import ThawCore
import ThawTesting
import Wire

@Suite("listings and lookups in the metadata store")
struct ListingTests {
    private let prefix = ObjectKey("dir/")

    @Test("a directory nobody looked into has no state and no rows")
    func unknown() async throws {
        let fixture = try Fixture()
        #expect(try await fixture.reader.state(of: prefix) == .none)
        #expect(try await fixture.row("a", below: prefix) == nil)
        #expect(try await fixture.names(below: prefix).isEmpty)
    }

    @Test("a listing counts as complete only when it is finished, with the time at which it began")
    func completeness() async throws {
        let fixture = try Fixture()
        let first = try await fixture.writer.beginListing(prefix, at: Timestamp(seconds: 100))
        var state = try await fixture.reader.state(of: prefix)
        #expect(state == ListingState(listing: first, startedAt: Timestamp(seconds: 100), listedAt: .epoch))
        try await fixture.writer.finishListing(prefix, listing: first)
        state = try await fixture.reader.state(of: prefix)
        #expect(state.listedAt == Timestamp(seconds: 100))

        let second = try await fixture.writer.beginListing(prefix, at: Timestamp(seconds: 200))
        #expect(second > first)
        state = try await fixture.reader.state(of: prefix)
        #expect(state == ListingState(
            listing: second, startedAt: Timestamp(seconds: 200), listedAt: Timestamp(seconds: 100)))
    }

    @Test("numbers of listings are never shared by directories")
    func numbers() async throws {
        let fixture = try Fixture()
        var numbers: Set<Int64> = []
        for prefix in ["", "a/", "b/", "a/", ""] {
            numbers.insert(try await fixture.writer.beginListing(ObjectKey(prefix), at: Timestamp(seconds: 1)))
        }
        #expect(numbers.count == 5)
    }

    @Test("names that a listing did not see are gone when it ends, and shown by no page of it before")
    func deletion() async throws {
        let fixture = try Fixture()
        let first = try await fixture.writer.beginListing(.empty, at: Timestamp(seconds: 100))
        try await fixture.record(["a", "b", "c/"], at: 101, listing: first)
        try await fixture.writer.finishListing(.empty, listing: first)
        #expect(try await fixture.names() == ["a", "b", "c/"])

        let second = try await fixture.writer.beginListing(.empty, at: Timestamp(seconds: 200))
        try await fixture.record(["b"], at: 201, listing: second)
        #expect(try await fixture.names() == ["b"])
        #expect(try await fixture.row("a") != nil)
        try await fixture.writer.finishListing(.empty, listing: second)
        #expect(try await fixture.row("a") == nil)
        #expect(try await fixture.row("c/") == nil)
        #expect(try await fixture.names() == ["b"])
    }

    @Test("a name that a lookup saw since the listing began stays, and one that it saw before goes")
    func lookups() async throws {
        let fixture = try Fixture()
        try await fixture.record(["before"], at: 99, listing: 0)
        let listing = try await fixture.writer.beginListing(.empty, at: Timestamp(seconds: 100))
        try await fixture.record(["after"], at: 100, listing: 0)
        try await fixture.record(["listed"], at: 101, listing: listing)
        try await fixture.record(["listed"], at: 102, listing: 0)
        try await fixture.writer.finishListing(.empty, listing: listing)
        #expect(try await fixture.names() == ["after", "listed"])
        #expect(try await fixture.row("before") == nil)
    }

    @Test("a listing that another has overtaken does not end it and drops nothing")
    func overtaken() async throws {
        let fixture = try Fixture()
        try await fixture.record(["old"], at: 50, listing: 0)
        let first = try await fixture.writer.beginListing(.empty, at: Timestamp(seconds: 100))
        let second = try await fixture.writer.beginListing(.empty, at: Timestamp(seconds: 200))
        try await fixture.writer.finishListing(.empty, listing: first)
        #expect(try await fixture.reader.state(of: .empty).listedAt == .epoch)
        #expect(try await fixture.row("old") != nil)
        try await fixture.record(["new"], at: 201, listing: second)
        try await fixture.record(["new"], at: 202, listing: first)
        try await fixture.writer.finishListing(.empty, listing: second)
        #expect(try await fixture.names() == ["new"])
    }

    @Test("a name known to be absent is a row, but of no page")
    func absent() async throws {
        let fixture = try Fixture()
        try await fixture.record(["ghost"], .absent, at: 100, listing: 0)
        let row = try #require(try await fixture.row("ghost"))
        #expect(row.kind == .absent)
        #expect(row.checkedAt == Timestamp(seconds: 100))
        #expect(try await fixture.names().isEmpty)
        try await fixture.record(["ghost"], at: 101, listing: 0)
        #expect(try await fixture.row("ghost")?.kind == object())
    }

    @Test("what a record says comes back as it was", arguments: [
        object(), object(restore: .ongoing), object(restore: .restored(until: nil)),
        object(restore: .restored(until: Timestamp(seconds: 1_800_000_000)), versionID: "v1"),
        object(archiveStatus: "ARCHIVE_ACCESS"), .directory(nil),
        object(attributes: attributesOfATest), object(attributes: FileAttributes()), .directory(attributesOfATest),
        .directory(FileAttributes()),
    ])
    func roundTrip(kind: MetadataRow.Kind) async throws {
        let fixture = try Fixture()
        try await fixture.record(["x"], kind, at: 100, listing: 0)
        #expect(try await fixture.row("x")?.kind == kind)
    }

    @Test("an archive status stays across listings while the object does, and goes with it")
    func archiveStatus() async throws {
        func status(_ fixture: Fixture) async throws -> String? {
            guard case .object(let record) = try await fixture.row("x")?.kind else { return "no object" }
            return record.archiveStatus
        }
        let fixture = try Fixture()
        try await fixture.record(["x"], object(archiveStatus: "ARCHIVE_ACCESS"), at: 100, listing: 0)
        try await fixture.record(["x"], object(), at: 101, listing: 1)
        #expect(try await status(fixture) == "ARCHIVE_ACCESS")
        try await fixture.record(["x"], object(archiveStatus: ""), at: 102, listing: 0)
        #expect(try await status(fixture)?.isEmpty == true)
        try await fixture.record(["x"], object(archiveStatus: "DEEP_ARCHIVE_ACCESS"), at: 103, listing: 0)
        try await fixture.record(["x"], object(etag: "\"other\""), at: 104, listing: 2)
        #expect(try await status(fixture) == nil)
    }

    @Test("pages follow each other in byte order, whatever their size", arguments: [1, 2, 3, 100])
    func order(limit: Int) async throws {
        let fixture = try Fixture()
        let names = ["a", "a\u{1}", "a-b", "a/", "a0", "b", "é", "\u{FFFF}", "𐀀"]
        let listing = try await fixture.writer.beginListing(prefix, at: Timestamp(seconds: 100))
        try await fixture.record(names.shuffled(), at: 100, listing: listing, below: prefix)
        try await fixture.record(["elsewhere"], at: 100, listing: listing, below: .empty)
        #expect(try await fixture.names(below: prefix, limit: limit) == names)
    }

    @Test("rows are found by their whole segment, in the order asked for, and only those there are")
    func rows() async throws {
        let fixture = try Fixture()
        try await fixture.record(["a"], at: 100, listing: 0)
        try await fixture.record(["a/"], .directory(nil), at: 100, listing: 0)
        let rows = try await fixture.reader.rows([[0x61, 0x2F], [0x62], [0x61]], below: .empty)
        #expect(rows.map(\.kind) == [.directory(nil), object()])
    }

    @Test("expired, a directory was never listed and a name never checked")
    func expiry() async throws {
        let fixture = try Fixture()
        let listing = try await fixture.writer.beginListing(.empty, at: Timestamp(seconds: 100))
        try await fixture.record(["a", "b"], at: 101, listing: listing)
        try await fixture.writer.finishListing(.empty, listing: listing)
        try await fixture.writer.expire(Array("a".utf8), below: .empty)
        #expect(try await fixture.row("a")?.checkedAt == .epoch)
        #expect(try await fixture.row("b")?.checkedAt == Timestamp(seconds: 101))
        try await fixture.writer.expire(directory: .empty)
        #expect(try await fixture.reader.state(of: .empty).listedAt == .epoch)
    }
}
