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
        try await fixture.writer.expire(directory: .empty, at: Timestamp(seconds: 200))
        #expect(try await fixture.reader.state(of: .empty).listedAt == .epoch)
    }

    // MARK: Listings without a delimiter

    private func part(
        _ prefix: String, _ names: [String], at seconds: Int64, listing: Int64? = nil, isLast: Bool = true
    ) -> ListedPart {
        var part = ListedPart(prefix: ObjectKey(prefix), listing: listing)
        part.rows = names.map {
            MetadataRow(segment: Array($0.utf8), kind: object(), checkedAt: Timestamp(seconds: seconds))
        }
        part.isLast = isLast
        return part
    }

    private func isListed(_ prefix: String, _ fixture: Fixture, at seconds: Int64) async throws -> Bool {
        let state = try await fixture.reader.state(of: ObjectKey(prefix))
        return state.listedAt == Timestamp(seconds: seconds) && state.startedAt == state.listedAt
    }

    @Test("pages without a delimiter list directories as a whole, and what they did not see is gone")
    func flat() async throws {
        let fixture = try Fixture()
        try await fixture.record(["gone", "b"], at: 50, listing: 0, below: ObjectKey("x/"))
        let first = try await fixture.writer.record(
            [part("w/", ["a"], at: 100), part("x/", ["b"], at: 100, isLast: false)], at: Timestamp(seconds: 100))
        #expect(try await isListed("w/", fixture, at: 100))
        #expect(try await !isListed("x/", fixture, at: 100))
        #expect(try await fixture.row("gone", below: ObjectKey("x/")) != nil)
        let second = try await fixture.writer.record(
            [part("x/", ["c"], at: 101, listing: first[1]), part("y/", [], at: 101)], at: Timestamp(seconds: 101))
        #expect(try await isListed("x/", fixture, at: 100))
        #expect(try await isListed("y/", fixture, at: 101))
        #expect(try await fixture.names(below: ObjectKey("x/")) == ["b", "c"])
        #expect(try await fixture.row("gone", below: ObjectKey("x/")) == nil)
        #expect(second[0] == first[1])
        #expect(Set((first + second).compactMap { $0 }).count == 3)
    }

    @Test("a page without a delimiter says nothing of directories of which something newer is known")
    func flatIsOlder() async throws {
        let fixture = try Fixture()
        let listing = try await fixture.writer.beginListing(ObjectKey("listed/"), at: Timestamp(seconds: 101))
        try await fixture.writer.finishListing(ObjectKey("listed/"), listing: listing)
        try await fixture.writer.expire(directory: ObjectKey("refreshed/"), at: Timestamp(seconds: 101))
        try await fixture.writer.forgetTree(below: ObjectKey("moved/"), at: Timestamp(seconds: 101))
        let names = ["listed/", "refreshed/", "moved/", "moved/sub/", "other/"]
        try await fixture.writer.forgetTree(below: ObjectKey("moved/sub/"), at: Timestamp(seconds: 101))
        let parts = names.map { part($0, ["old"], at: 100) }
        let listings = try await fixture.writer.record(parts, at: Timestamp(seconds: 100))
        #expect(listings.map { $0 != nil } == [false, false, false, false, true])
        for name in names.dropLast() { #expect(try await fixture.row("old", below: ObjectKey(name)) == nil) }
        #expect(try await isListed("listed/", fixture, at: 101))
        #expect(try await fixture.reader.state(of: ObjectKey("refreshed/")).listedAt == .epoch)
        // A clock that was set back must not be waited for.
        let later = try await fixture.writer.record(
            [part("listed/", ["new"], at: 20)], at: Timestamp(seconds: 20))
        #expect(later[0] != nil)
        #expect(try await isListed("listed/", fixture, at: 20))
    }

    @Test("a listing of its own, or a refresh, overtakes what pages without a delimiter have begun")
    func flatIsOvertaken() async throws {
        let fixture = try Fixture()
        let begun = try await fixture.writer.record(
            ["a/", "b/"].map { part($0, ["1"], at: 100, isLast: false) }, at: Timestamp(seconds: 100))
        let listing = try await fixture.writer.beginListing(ObjectKey("a/"), at: Timestamp(seconds: 102))
        try await fixture.writer.expire(directory: ObjectKey("b/"), at: Timestamp(seconds: 102))
        _ = try await fixture.writer.record(
            zip(["a/", "b/"], begun).map { part($0, ["2"], at: 101, listing: $1) }, at: Timestamp(seconds: 101))
        #expect(try await fixture.reader.state(of: ObjectKey("a/")).listedAt == .epoch)
        #expect(try await fixture.reader.state(of: ObjectKey("b/")).listedAt == .epoch)
        try await fixture.writer.finishListing(ObjectKey("a/"), listing: listing)
        #expect(try await fixture.names(below: ObjectKey("a/")).isEmpty)
    }
}
