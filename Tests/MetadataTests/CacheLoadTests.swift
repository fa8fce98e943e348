import Metadata
import ObjectStore
import Testing
import ThawCore
import ThawTesting
import Wire

@Suite("what a report does to what is known already")
struct CacheLoadTests {
    private static let asOf = Timestamp(seconds: 1000)

    /// Loads a report of these keys, as of second 1000, over what `body` made known.
    private func loaded(
        _ keys: [String], asOf: Timestamp = asOf, over body: (Fixture) async throws -> Void
    ) async throws -> Fixture {
        let directory = try TemporaryDirectory()
        do {
            let fixture = try Fixture(in: directory)
            try await body(fixture)
            await fixture.writer.checkpoint()
        }
        try await load(keys, asOf: asOf, into: directory)
        return try Fixture(in: directory)
    }

    private func load(_ keys: [String], asOf: Timestamp, into directory: TemporaryDirectory) async throws {
        let load = try CacheLoad(
            path: directory.path + "/metadata.sqlite", executor: ThreadExecutor(name: "db-loader"), log: quiet)
        try await load.begin(.empty, asOf: asOf)
        var batch = LoadBatch(classes: [StorageClass("Archive")])
        for key in keys {
            batch.bytes += Array(key.utf8) + Array("\"e\"".utf8)
            batch.rows.append(
                LoadBatch.Row(
                    keyBytes: key.utf8.count, etagBytes: 3, sizeBytes: 5, modified: Timestamp(seconds: 7),
                    storageClass: 0))
        }
        try await load.add(batch)
        try await load.finish(LoadedReport(manifest: "m", asOf: asOf, loadedAt: Timestamp(seconds: 5000)))
    }

    @Test("names that were seen or removed since the report was begun count more than it")
    func newer() async throws {
        let fixture = try await loaded(["a", "b", "d/x", "d/y"]) { fixture in
            try await fixture.record(["gone", "made"], at: 900, listing: 0)
            try await fixture.record(["made", "new/"], at: 1100, listing: 0)
            try await fixture.record(["b"], .absent, at: 1100, listing: 0)
            try await fixture.record(["x"], object(etag: "\"mine\""), at: 1100, listing: 0, below: ObjectKey("d/"))
            try await fixture.record(["inside"], at: 1100, listing: 0, below: ObjectKey("new/"))
        }
        #expect(try await fixture.names() == ["a", "d/", "made", "new/"])
        #expect(try await fixture.names(below: ObjectKey("d/")) == ["x", "y"])
        #expect(try await fixture.row("x", below: ObjectKey("d/"))?.kind == object(etag: "\"mine\""))
        #expect(try await fixture.row("inside", below: ObjectKey("new/")) != nil)
        #expect(try await fixture.reader.state(of: ObjectKey("new/")).listedAt == .epoch)
        #expect(try await fixture.reader.state(of: .empty).listedAt == Self.asOf)
    }

    @Test("a directory that was listed since then is as it was listed")
    func listed() async throws {
        let fixture = try await loaded(["a", "d/gone", "d/x"]) { fixture in
            let listing = try await fixture.writer.beginListing(ObjectKey("d/"), at: Timestamp(seconds: 1100))
            try await fixture.record(["x", "z"], at: 1100, listing: listing, below: ObjectKey("d/"))
            try await fixture.writer.finishListing(ObjectKey("d/"), listing: listing)
        }
        #expect(try await fixture.names(below: ObjectKey("d/")) == ["x", "z"])
        #expect(try await fixture.reader.state(of: ObjectKey("d/")).listedAt == Timestamp(seconds: 1100))
        let next = try await fixture.writer.beginListing(ObjectKey("d/"), at: Timestamp(seconds: 1200))
        #expect(next > 1)
    }

    @Test("a directory that was removed since then, with all below it, does not come back")
    func emptied() async throws {
        let fixture = try await loaded(["a", "d/s/x", "d/x", "e/x"]) { fixture in
            try await fixture.writer.forgetTree(below: ObjectKey("d/"), at: Timestamp(seconds: 1100))
        }
        #expect(try await fixture.names() == ["a", "e/"])
        #expect(try await fixture.row("x", below: ObjectKey("d/s/")) == nil)
        #expect(try await fixture.reader.state(of: ObjectKey("d/")).listedAt == .epoch)
    }

    @Test("attributes that a report does not tell stay with objects that are the same")
    func attributes() async throws {
        let fixture = try await loaded(["a", "b", "d/x"]) { fixture in
            try await fixture.record(["a"], object(attributes: attributesOfATest), at: 900, listing: 0)
            let other = object(etag: "\"other\"", attributes: attributesOfATest)
            try await fixture.record(["b"], other, at: 900, listing: 0)
            try await fixture.record(["d/"], .directory(attributesOfATest), at: 900, listing: 0)
        }
        #expect(try await fixture.row("a")?.kind == object(attributes: attributesOfATest))
        #expect(try await fixture.row("a")?.checkedAt == Self.asOf)
        #expect(try await fixture.row("b")?.kind == object())
        #expect(try await fixture.row("d/")?.kind == .directory(attributesOfATest))
    }

    @Test("of a report of one directory, what is known of others stays")
    func outside() async throws {
        let directory = try TemporaryDirectory()
        try await load(["a/x", "a/y"], asOf: Timestamp(seconds: 900), into: directory)
        try await load(["b/x", "b/y"], asOf: Self.asOf, into: directory)
        let fixture = try Fixture(in: directory)
        #expect(try await fixture.names(below: ObjectKey("a/")) == ["x", "y"])
        #expect(try await fixture.reader.state(of: ObjectKey("a/")).listedAt == Timestamp(seconds: 900))
        #expect(try await fixture.names(below: ObjectKey("b/")) == ["x", "y"])
        #expect(try await fixture.reader.state(of: .empty).listedAt == .epoch)
    }

    @Test("a newer report replaces what came from an older one, however late that was loaded")
    func older() async throws {
        let directory = try TemporaryDirectory()
        try await load(["a", "b/x", "gone"], asOf: Timestamp(seconds: 900), into: directory)
        try await load(["a", "b/x"], asOf: Self.asOf, into: directory)
        let fixture = try Fixture(in: directory)
        #expect(try await fixture.names() == ["a", "b/"])
        #expect(try await fixture.reader.loadedReport()?.asOf == Self.asOf)
    }

    @Test("restores and what waits to be stored are carried over")
    func promises() async throws {
        let fixture = try await loaded(["a", "b/x"]) { fixture in
            _ = try await fixture.writer.wish(restoreRow("kept"), by: wishOfATest, at: .now()) { $0 ?? $1 }
            #expect(fixture.writer.left.mayMissUploads)
        }
        #expect(try await fixture.reader.restore(of: ObjectKey("kept"), version: nil)?.order == restoreRow("kept").order)
        #expect(fixture.writer.left.mayMissUploads)
        #expect(try await fixture.names() == ["a", "b/"])
    }
}
