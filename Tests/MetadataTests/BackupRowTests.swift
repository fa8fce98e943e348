import Database
import Metadata
import Testing
import ThawCore
import ThawTesting

private let now = Timestamp(seconds: 1_800_000_000)

private func wish(_ prefix: String, include: [String] = []) -> BackupRow {
    BackupRow(
        prefix: ObjectKey(prefix), vault: "v-1", snapshot: "s-1", include: include, exclude: ["/x \"y\""], wishedAt: now)
}

@Suite("restores from backups that were wished for")
struct BackupRowTests {
    /// The store as another process finds it when this one ends here.
    private func afterCrash(_ fixture: Fixture) throws -> Fixture {
        try Fixture(in: fixture.directory.copy(of: ["metadata.sqlite", "metadata.sqlite-wal"]))
    }

    @Test("they are there after a crash, with all that is known of them")
    func kept() async throws {
        let fixture = try Fixture()
        var rows = try await fixture.writer.wish([wish("a/", include: ["/a,b"]), wish("a/")], below: ObjectKey("a/"))
        #expect(rows.map(\.id) == [1, 2] && rows.allSatisfy { $0.stage == .wished && $0.job == nil })
        rows[1].job = "r-2"
        rows[1].stage = .cancelling
        rows[1].status = "RUNNING"
        rows[1].error = "Code: words"
        rows[1].errorFile = "file"
        try await fixture.writer.update(rows[1])
        #expect(try await afterCrash(fixture).writer.backups(endedSince: .epoch) == rows)
    }

    @Test("a directory's new wish takes the place of the one before, and of no other directory's")
    func replaced() async throws {
        let fixture = try Fixture()
        for prefix in ["a/", "b/", "a/"] {
            _ = try await fixture.writer.wish([wish(prefix)], below: ObjectKey(prefix))
        }
        #expect(try await fixture.writer.backups(endedSince: .epoch).map(\.id) == [2, 3])
        try await fixture.writer.dropBackups(below: ObjectKey("a/"))
        #expect(try await fixture.writer.backups(endedSince: .epoch).map(\.prefix) == [ObjectKey("b/")])
    }

    @Test("what ended long ago is forgotten, what goes on is not")
    func forgotten() async throws {
        let fixture = try Fixture()
        for (prefix, ended) in [("old/", -1), ("new/", 1)] as [(String, Int64)] {
            var row = try await fixture.writer.wish([wish(prefix)], below: ObjectKey(prefix))[0]
            row.stage = .ended
            row.endedAt = now + .seconds(ended)
            try await fixture.writer.update(row)
        }
        _ = try await fixture.writer.wish([wish("going/")], below: ObjectKey("going/"))
        let kept = try await fixture.writer.backups(endedSince: now)
        #expect(kept.map(\.prefix) == [ObjectKey("new/"), ObjectKey("going/")])
    }

    @Test("a file of schema version 3 gets the table, and keeps what it has")
    func migrated() async throws {
        let directory = try TemporaryDirectory()
        do {
            let fixture = try Fixture(in: directory)
            try await fixture.record(["name"], at: 100, listing: 0)
            await fixture.writer.checkpoint()
        }
        try Connection(.file(directory.path + "/metadata.sqlite"))
            .execute("DROP TABLE backup; PRAGMA user_version = 3")
        let fixture = try Fixture(in: directory)
        #expect(try await fixture.row("name")?.kind == object())
        #expect(try await fixture.writer.wish([wish("a/")], below: ObjectKey("a/")).map(\.id) == [1])
    }

    @Test("they are carried over from a damaged file")
    func salvaged() async throws {
        let directory = try TemporaryDirectory()
        do {
            let fixture = try Fixture(in: directory)
            _ = try await fixture.writer.wish([wish("a/")], below: ObjectKey("a/"))
            try await fixture.record((0..<500).map { "name-\($0)" }, at: 100, listing: 0)
        }
        try damage(directory.path + "/metadata.sqlite", table: "entry")
        let fixture = try Fixture(in: directory)
        _ = await #expect(throws: MetadataError.self) { try await fixture.record(["x"], at: 101, listing: 0) }
        #expect(try await fixture.writer.backups(endedSince: .epoch).map(\.prefix) == [ObjectKey("a/")])
    }
}
