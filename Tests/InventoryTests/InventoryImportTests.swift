import Glibc
import Metadata
import ObjectStore
import Testing
import ThawCore
import ThawTesting
import Wire

@testable import Inventory

@Suite("loading a report into the metadata store")
struct InventoryImportTests {
    private typealias Row = Fixture

    @Test("a report makes every directory known as of its time, whatever the order of its rows and files")
    func directories() async throws {
        let rows = ["b/c/d", "a", "b/x", "z/", "b%2Fc%2Fe", "b/c-1", "y//f"].map { Row.row($0) }
            + [Row.row("empty/", size: 0)]
        for files in [[rows], [Array(rows.reversed())], rows.map { [$0] }, [rows.sorted()], [rows, rows]] {
            let fixture = try Fixture()
            fixture.put(files)
            #expect(try await fixture.load().objects == files.joined().count)
            #expect(try await fixture.names() == ["a", "b/", "empty/", "y/", "z/"])
            #expect(try await fixture.names("b/") == ["c-1", "c/", "x"])
            #expect(try await fixture.names("b/c/") == ["d", "e"])
            #expect(try await fixture.names("empty/") == [])
            // A marker with content is a file with an empty name; two slashes have a directory of that between them.
            #expect(try await fixture.names("z/") == [""])
            #expect(try await fixture.names("y/") == ["/"])
            #expect(try await fixture.names("y//") == ["f"])
            let state = try await fixture.reader().state(of: ObjectKey("b/c/"))
            #expect(state.listedAt == Timestamp(seconds: 1_704_153_600))
        }
    }

    @Test("an object is what a listing would say of it")
    func record() async throws {
        let fixture = try Fixture()
        fixture.put([[Row.row("cold", size: 12_345_678_901, etag: "d41d-2", class: "DEEP_ARCHIVE"), Row.row("hot/x")]])
        try await fixture.load()
        let modified = try #require(WireDate.parseISO8601("2024-01-01T10:20:30Z"))
        #expect(try await fixture.record("cold") == ObjectRecord(
            sizeBytes: 12_345_678_901, modified: modified, etag: "\"d41d-2\"",
            storageClass: StorageClass("DEEP_ARCHIVE")))
        #expect(try await fixture.record("x", below: "hot/")?.storageClass == StorageClass("STANDARD"))
    }

    @Test(
        "keys are decoded as the dialect's listings are",
        arguments: [(Dialect.s3, ["+", "a b\"", "c d", "é/"]), (.oss, ["+", "a+b\"", "c d", "é/"])])
    func keys(dialect: Dialect, names: [String]) async throws {
        let fixture = try Fixture(dialect)
        fixture.put([["a+b%22", "c%20d", "%2B", "%C3%A9/f"].map { Row.row($0) }])
        try await fixture.load()
        #expect(try await fixture.names() == names)
    }

    @Test("versions that are not current, and delete markers, are passed over")
    func versions() async throws {
        let fixture = try Fixture()
        fixture.put([[
            Row.row("a", etag: "old", isLatest: false), Row.row("a", etag: "new"),
            Row.row("a", etag: "older", isLatest: false), Row.row("gone", isDeleteMarker: true), Row.row("b"),
        ]])
        #expect(try await fixture.load().objects == 2)
        #expect(try await fixture.names() == ["a", "b"])
        #expect(try await fixture.record("a")?.etag == "\"new\"")
    }

    @Test("of a mount of a prefix only that is loaded")
    func ofPrefix() async throws {
        let fixture = try Fixture()
        fixture.put([["a", "logs/1", "logs/d/2", "logs2"].map { Row.row($0) }])
        try await fixture.load(prefix: "logs/")
        #expect(try await fixture.names("logs/") == ["1", "d/"])
        #expect(try await fixture.names() == nil)
    }

    @Test("a report of a part of the bucket settles that part only")
    func filtered() async throws {
        let fixture = try Fixture()
        fixture.put([["logs/1", "logs/d/2"].map { Row.row($0) }])
        try await fixture.load()
        #expect(try await fixture.names() == nil)
        #expect(try await fixture.names("logs/") == ["1", "d/"])
        fixture.put([[]], createdAt: 1_704_240_000)
        try await fixture.load()
        #expect(try await fixture.names() == nil)
    }

    @Test("below a prefix the newest manifest counts")
    func newest() async throws {
        let fixture = try Fixture()
        fixture.store.setTime(Timestamp(seconds: 200))
        fixture.put([["new", "n/x"].map { Row.row($0) }], manifest: "reports/2/manifest.json")
        fixture.store.setTime(Timestamp(seconds: 100))
        fixture.put([["old", "o/x"].map { Row.row($0) }], createdAt: 1_704_000_000, manifest: "reports/3/manifest.json")
        try await fixture.load("reports")
        #expect(try await fixture.names() == ["n/", "new"])
        #expect(await fixture.failure("reports/bkt/").contains("no manifest.json below"))
    }

    @Test("a report that was loaded already, or is older, is left alone if only newer ones are wanted")
    func onlyNewer() async throws {
        let fixture = try Fixture()
        fixture.put([[Row.row("a"), Row.row("b/c")]])
        #expect(try await fixture.load(onlyNewer: true).loaded?.asOf == Timestamp(seconds: 1_704_153_600))
        let loaded = try await fixture.reader().loadedReport()
        #expect(loaded?.manifest == Fixture.manifest)
        #expect(try await fixture.load(onlyNewer: true).loaded == nil)
        #expect(try await fixture.reader().loadedReport() == loaded)
        #expect(try await fixture.load(onlyNewer: false).objects == 2)
        fixture.put([[Row.row("d"), Row.row("e/f")]], createdAt: 1_704_240_000)
        #expect(try await fixture.load(onlyNewer: true).loaded != nil)
        #expect(try await fixture.names() == ["d", "e/"])
    }

    @Test("a manifest without a checksum beside it is taken")
    func withoutChecksum() async throws {
        let fixture = try Fixture()
        fixture.put([[Row.row("a"), Row.row("b/c")]])
        fixture.store.remove(ObjectKey(Fixture.manifest.replacingSuffix("json", "checksum")))
        #expect(try await fixture.load().objects == 2)
    }

    @Test("what is wrong with a report is named, and the store is as it was")
    func refused() async throws {
        let fixture = try Fixture()
        fixture.put([[Row.row("a"), Row.row("b/c")]])
        try await fixture.load()
        let rows = [[Row.row("x"), Row.row("y/z")], [Row.row("z")]]

        fixture.put(rows, createdAt: 1_704_240_000, damage: { Array($0.dropLast()) })
        #expect(await fixture.failure().contains("data/1704240000-0.csv.gz: it has"))
        fixture.put(rows, createdAt: 1_704_240_000, damage: { $0.dropLast(4) + [9, 9, 9, 9] })
        #expect(await fixture.failure().contains("the compressed data is damaged"))
        fixture.put(rows, createdAt: 1_704_240_000)
        // Another date in the header, which no checksum of gzip's own covers.
        var other = gzip(Row.row("z"))
        other[4] ^= 1
        fixture.store.put("reports/bkt/daily/data/1704240000-1.csv.gz", other)
        #expect(await fixture.failure().contains("its MD5 is not the one in the manifest"))
        fixture.put([[Row.row("x"), "\"bkt\",\"y\"\n"]], createdAt: 1_704_240_000)
        #expect(await fixture.failure().contains("row 2: it has 2 fields, and fileSchema 9"))
        fixture.put([[Row.row("x%zz")]], createdAt: 1_704_240_000)
        #expect(await fixture.failure().contains("row 1: Key cannot be read"))
        fixture.put(rows, createdAt: 1_704_240_000, bucket: "theirs")
        #expect(await fixture.failure().contains("it is about the bucket theirs, not bkt"))
        fixture.put(rows, createdAt: 1_704_240_000)
        fixture.store.put(Fixture.manifest.replacingSuffix("json", "checksum"), Array("0123".utf8))
        #expect(await fixture.failure().contains("its MD5 is not the one in reports/"))
        fixture.store.remove(ObjectKey("reports/bkt/daily/data/1704240000-0.csv.gz"))
        fixture.put(rows, createdAt: 1_704_240_000)
        fixture.store.remove(ObjectKey("reports/bkt/daily/data/1704240000-1.csv.gz"))
        #expect(await fixture.failure().contains("NoSuchKey"))

        #expect(try await fixture.names() == ["a", "b/"])
        #expect(try await fixture.reader().loadedReport()?.asOf == Timestamp(seconds: 1_704_153_600))
        #expect(!fixture.directory.names.contains { $0.hasSuffix(".loading") })
    }

    @Test("a load that ends halfway leaves the store as it was, and the next one begins anew")
    func crashed() async throws {
        let fixture = try Fixture()
        fixture.put([[Row.row("a"), Row.row("b/c")]])
        try await fixture.load()
        let copy: TemporaryDirectory
        do {
            let load = try CacheLoad(path: fixture.path, executor: ThreadExecutor(name: "db-loader"), log: quiet)
            try await load.begin(.empty, asOf: Timestamp(seconds: 1_704_240_000))
            var batch = LoadBatch(classes: [StorageClass("STANDARD")])
            batch.bytes = Array("half\"e\"".utf8)
            batch.rows = [LoadBatch.Row(keyBytes: 4, etagBytes: 3, sizeBytes: 1, modified: .epoch, storageClass: 0)]
            try await load.add(batch)
            // As a crash leaves it.
            copy = try fixture.directory.copy(of: ["metadata.sqlite", "metadata.sqlite.loading"])
        }
        for name in copy.names { rename("\(copy.path)/\(name)", "\(fixture.directory.path)/\(name)") }
        #expect(try await fixture.names() == ["a", "b/"])
        fixture.put([[Row.row("new"), Row.row("n/x")]], createdAt: 1_704_240_000)
        try await fixture.load()
        #expect(try await fixture.names() == ["n/", "new"])
        #expect(!fixture.directory.names.contains { $0.hasSuffix(".loading") })
    }
}
