import Database
import Glibc
import Metadata
import ObjectStore
import Testing
import ThawCore
import ThawTesting
import Wire

@Suite("the metadata store's file")
struct StoreFileTests {
    @Test("a file of a newer schema is refused and left as it is")
    func newer() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/metadata.sqlite"
        do {
            let connection = try Connection(.file(path))
            try connection.setUserVersion(99)
        }
        let error = #expect(throws: MetadataError.self) { try Fixture(in: directory) }
        guard case .newerVersion(99) = error else {
            Issue.record("expected newerVersion, not \(String(describing: error))")
            return
        }
        #expect(try Connection(.file(path)).userVersion == 99)
    }

    @Test("a file that is no database is set aside and a new one begun")
    func noDatabase() async throws {
        let directory = try TemporaryDirectory()
        try overwrite(directory.path + "/metadata.sqlite", at: 0, Array(repeating: 0x5A, count: 8192))
        let fixture = try Fixture(in: directory)
        try await fixture.record(["a"], at: 100, listing: 0)
        #expect(try await fixture.row("a") != nil)
        #expect(directory.names.contains { $0.hasPrefix("metadata.sqlite.damaged-") })
    }

    @Test("damage met while running fails that operation, keeps the restores, and the next one works")
    func damagedTable() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/metadata.sqlite"
        do {
            let fixture = try Fixture(in: directory)
            _ = try await fixture.writer.wish(restoreRow("kept"), by: wishOfATest, at: .now()) { $0 ?? $1 }
            try await fixture.record((0..<500).map { "name-\($0)" }, at: 100, listing: 0)
        }
        try damage(path, table: "entry")

        let fixture = try Fixture(in: directory)
        // The reader has the file open that is about to be set aside.
        #expect(try await fixture.reader.state(of: .empty) == .none)
        let error = await #expect(throws: MetadataError.self) { try await fixture.record(["x"], at: 101, listing: 0) }
        guard case .database(let cause) = error else {
            Issue.record("expected a database error, not \(String(describing: error))")
            return
        }
        #expect(cause.isCorrupt)
        try await fixture.record(["x"], at: 102, listing: 0)
        #expect(try await fixture.names() == ["x"])
        #expect(try await fixture.reader.restore(of: ObjectKey("kept"), version: nil)?.order == restoreRow("kept").order)
    }
}

@Suite("the state directory")
struct StateDirectoryTests {
    @Test("it is made with its parents, for its owner only")
    func made() throws {
        let directory = try TemporaryDirectory()
        let state = try StateDirectory(path: directory.path + "/a/b", holder: "/mnt")
        var status = stat()
        #expect(stat(state.path, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o700)
        #expect(state.databasePath == state.path + "/metadata.sqlite")
    }

    @Test("a second holder is refused and told who has it; when that one goes, it may")
    func locked() throws {
        let directory = try TemporaryDirectory()
        var first: StateDirectory? = try StateDirectory(path: directory.path, holder: "/mnt/one")
        #expect(first != nil)
        let error = #expect(throws: MetadataError.self) { try StateDirectory(path: directory.path, holder: "/mnt/two") }
        guard case .inUse(let holder) = error else {
            Issue.record("expected inUse, not \(String(describing: error))")
            return
        }
        #expect(holder == "pid \(getpid()) at /mnt/one")
        first = nil
        #expect(throws: Never.self) { try StateDirectory(path: directory.path, holder: "/mnt/two") }
    }

    @Test("a path through a file says which and why")
    func unusable() throws {
        let directory = try TemporaryDirectory()
        let file = directory.path + "/file"
        close(open(file, O_CREAT | O_WRONLY, 0o600))
        let error = #expect(throws: MetadataError.self) { try StateDirectory(path: file + "/below", holder: "") }
        guard case .directory(let path, ENOTDIR) = error else {
            Issue.record("expected ENOTDIR, not \(String(describing: error))")
            return
        }
        #expect(path == file + "/below")
    }
}
