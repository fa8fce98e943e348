import Database
import Metadata
import ObjectStore
import Testing
import ThawCore
import ThawTesting
import Wire

@Suite("files of schema version 1")
struct MigrationTests {
    /// As thawfs 1 made them.
    private let version1 = """
        CREATE TABLE directory(
            id INTEGER PRIMARY KEY,
            prefix BLOB NOT NULL UNIQUE,
            listing INTEGER NOT NULL DEFAULT 0,
            started_at INTEGER NOT NULL DEFAULT 0,
            listed_at INTEGER NOT NULL DEFAULT 0
        );
        CREATE TABLE entry(
            directory INTEGER NOT NULL,
            segment BLOB NOT NULL,
            listing INTEGER NOT NULL,
            checked_at INTEGER NOT NULL,
            kind INTEGER NOT NULL,
            size INTEGER,
            modified INTEGER,
            etag TEXT,
            class TEXT,
            restore INTEGER NOT NULL DEFAULT 0,
            expiry INTEGER NOT NULL DEFAULT 0,
            archive TEXT,
            version TEXT,
            PRIMARY KEY(directory, segment)
        ) WITHOUT ROWID;
        CREATE TABLE restore(
            key BLOB NOT NULL,
            version TEXT NOT NULL DEFAULT '',
            state INTEGER NOT NULL,
            class TEXT NOT NULL,
            tier TEXT,
            days INTEGER,
            more_days INTEGER,
            requested_at INTEGER NOT NULL,
            PRIMARY KEY(key, version)
        ) WITHOUT ROWID;
        INSERT INTO directory(prefix, listing, started_at, listed_at) VALUES(X'', 4, 5, 5);
        INSERT INTO restore VALUES(CAST('asking' AS BLOB), '', 0, 'ColdArchive', 'Bulk', 7, NULL, 0);
        INSERT INTO restore VALUES(CAST('restoring' AS BLOB), 'v1', 1, 'Archive', NULL, 3, 5, 1700000000000000000);
        PRAGMA user_version = 1;
        """

    @Test("restores go on: what was about to be asked for is looked at first, what was under way is polled")
    func migrated() async throws {
        let directory = try TemporaryDirectory()
        try Connection(.file(directory.path + "/metadata.sqlite")).execute(version1)
        for _ in 0..<2 {
            let fixture = try Fixture(in: directory)
            let asking = try #require(try await fixture.reader.restore(of: ObjectKey("asking"), version: nil))
            #expect(asking.state == .asking && asking.order == RestoreOrder(days: 7, tier: .bulk))
            #expect(asking.askedAt == nil && asking.storageClass == StorageClass("ColdArchive"))
            #expect(try await fixture.writer.leftAsking() == [asking])
            let row = try #require(try await fixture.reader.restore(of: ObjectKey("restoring"), version: "v1"))
            #expect(row.state == .restoring && row.moreDays == 5 && row.order == RestoreOrder(days: 3, tier: nil))
            #expect(row.askedAt == Timestamp(seconds: 1_700_000_000) && row.dueAt == .epoch)
            let requests = try await fixture.reader.requests(finishedMax: 9)
            #expect(requests.map(\.request.target).sorted() == ["asking", "restoring"])
            #expect(requests.allSatisfy { $0.request.stage == .collected && $0.states.count == 1 })
            #expect(try await fixture.reader.state(of: .empty).listing == 4)
        }
        let fixture = try Fixture(in: directory)
        #expect(try await fixture.move("asking", to: .restored).map(\.request.target) == ["asking"])
    }
}

@Suite("files of schema version 2")
struct SecondMigrationTests {
    private let content = """
        INSERT INTO directory(prefix, listing, started_at, listed_at) VALUES(X'', 4, 5, 5);
        INSERT INTO entry VALUES(1, CAST('file' AS BLOB), 4, 5, 1, 9, 7, '"e"', 'Archive', 2, 8, NULL, 'v1');
        INSERT INTO entry VALUES(1, CAST('sub/' AS BLOB), 4, 5, 2, NULL, NULL, NULL, NULL, 0, 0, NULL, NULL);
        INSERT INTO restore(key, version, state, class, lane, size, etag, rank)
            VALUES(CAST('cold' AS BLOB), '', 2, 'ColdArchive', 'lane', 9, '"e"', 0);
        """

    @Test("what is known stays known, attributes are not, and restores go on")
    func migrated() async throws {
        let directory = try TemporaryDirectory()
        try Connection(.file(directory.path + "/metadata.sqlite")).execute(version2 + content)
        for _ in 0..<2 {
            let fixture = try Fixture(in: directory)
            #expect(try await fixture.reader.state(of: .empty).listing == 4)
            guard case .object(let record) = try await fixture.row("file")?.kind else {
                Issue.record("no object")
                return
            }
            #expect(record.sizeBytes == 9 && record.versionID == "v1" && record.attributes == nil)
            #expect(record.restore == .restored(until: Timestamp(nanoseconds: 8)))
            #expect(try await fixture.row("sub/")?.kind == .directory(nil))
            #expect(try await fixture.reader.restore(of: ObjectKey("cold"), version: nil)?.state == .restoring)
        }
        let fixture = try Fixture(in: directory)
        try await fixture.record(["file"], object(attributes: attributesOfATest), at: 100, listing: 0)
        #expect(try await fixture.row("file")?.kind == object(attributes: attributesOfATest))
        try await fixture.writer.forgetTree(below: .empty, at: Timestamp(seconds: 200))
        #expect(try await fixture.row("file") == nil)
    }
}

@Suite("a damaged queue")
struct SalvageTests {
    @Test("requests, their objects and what was spent are carried over from a damaged file, and count right")
    func salvaged() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/metadata.sqlite"
        let tree = ScopeRow(kind: .tree, key: ObjectKey("a/"), version: nil)
        do {
            let fixture = try Fixture(in: directory)
            try await fixture.wish(restoreRow("one"), charging: 9)
            try await fixture.wish(restoreRow("two"))
            try await fixture.move("two", to: .restored)
            let request = try await fixture.open(scopes: [tree])
            try await fixture.writer.commit(request)
            try await fixture.record((0..<500).map { "name-\($0)" }, at: 100, listing: 0)
        }
        try damage(path, table: "entry")
        let fixture = try Fixture(in: directory)
        _ = await #expect(throws: MetadataError.self) { try await fixture.record(["x"], at: 101, listing: 0) }
        #expect(try await fixture.reader.restore(of: ObjectKey("one"), version: nil)?.state == .queued)
        #expect(try await fixture.reader.requests(finishedMax: 9).map(\.request.id) == [3, 2, 1])
        #expect(try await fixture.writer.scopes(of: 3, limit: 9) == [tree])
        #expect(try await fixture.writer.spending(of: "reads", since: 0).map(\.bytes) == [9])
        #expect(try await fixture.move("one", to: .restored).map(\.request.id) == [1])
        // Ids go on where they were.
        #expect(try await fixture.wish(restoreRow("three")).rows.first?.id == 3)
    }
}
