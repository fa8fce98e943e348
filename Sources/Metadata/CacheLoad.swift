internal import Database
internal import Glibc
package import Logging
package import ThawCore

/// A whole cache from one report of the bucket: a new file, built beside the store's and put into its place.
///
/// The report's objects are written into a file without a journal, in whatever order they come: the tree of `entry`
/// is what sorts them. Then what the old file knows better, and all its promises, are carried over, and the new file
/// takes the old one's name. Whoever ends before that, by whatever cause, leaves the old file as it was.
///
/// Nobody else may have the store open: the state directory is locked, the mount's own writer and reader come later.
package actor CacheLoad {
    private let path: String
    private let executor: ThreadExecutor
    private var old: Connection?
    private var build: CacheBuild?

    package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// Opens the store, or makes it; a damaged one is set aside, as a mount does.
    package init(path: String, executor: ThreadExecutor, log: Logger) throws(MetadataError) {
        self.path = path
        self.executor = executor
        old = try MetadataWriter.open(path, log).0
    }

    /// The report that the store was loaded from last.
    package func latest() throws(MetadataError) -> LoadedReport? {
        guard let old else { return nil }
        return try guarded { () throws(DatabaseError) in try old.loadedReport() }
    }

    /// Begins with nothing. Keys that do not have this prefix (empty, or ending in `/`) are passed over.
    package func begin(_ prefix: ObjectKey, asOf time: Timestamp) throws(MetadataError) {
        try guarded { () throws(DatabaseError) in
            abandon()
            var options = Connection.Options()
            options.journal = .none
            options.cacheSizeBytes = 64 << 20
            build = try CacheBuild(Connection(.file(newPath), options: options), prefix, asOf: time)
        }
    }

    /// Takes in some of the objects. Of a key that comes twice the later one counts.
    package func add(_ batch: LoadBatch) throws(MetadataError) {
        try guarded { () throws(DatabaseError) in try build?.add(batch) }
    }

    /// Puts the new file into the old one's place; `report` is remembered in it.
    package func finish(_ report: LoadedReport) throws(MetadataError) {
        guard build != nil else { return }
        try guarded { () throws(DatabaseError) in
            try build?.finish(report, old: path)
            // All of the old file is in the file itself then, and nothing in a log beside it.
            try old?.checkpoint()
        }
        (build, old) = (nil, nil)
        try sync(newPath)
        guard rename(newPath, path) == 0 else { throw .directory(path: path, errno: errno) }
        try sync(String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]))
    }

    /// Leaves the store as it was.
    package func abandon() {
        build = nil
        unlink(newPath)
    }

    private var newPath: String { path + ".loading" }

    private func guarded<Result>(_ body: () throws(DatabaseError) -> Result) throws(MetadataError) -> Result {
        do throws(DatabaseError) { return try body() } catch {
            abandon()
            throw .database(error)
        }
    }

    private func sync(_ path: String) throws(MetadataError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        defer { close(descriptor) }
        guard descriptor >= 0, fsync(descriptor) == 0 else { throw .directory(path: path, errno: errno) }
    }
}

/// A report that the store was loaded from.
package struct LoadedReport: Sendable, Equatable {
    /// Where its manifest is, for people.
    package var manifest: String
    /// What it says was true then; what was seen later counts more.
    package var asOf: Timestamp
    package var loadedAt: Timestamp

    package init(manifest: String, asOf: Timestamp, loadedAt: Timestamp) {
        self.manifest = manifest
        self.asOf = asOf
        self.loadedAt = loadedAt
    }
}

extension Connection {
    /// The table is there in files that were loaded from a report, and says of which.
    static let reportTable = "CREATE TABLE report(manifest TEXT NOT NULL, as_of INTEGER NOT NULL, loaded_at INTEGER NOT NULL)"

    func loadedReport() throws(DatabaseError) -> LoadedReport? {
        guard try prepare("SELECT 1 FROM sqlite_schema WHERE name = 'report'").step() else { return nil }
        return try prepare("SELECT manifest, as_of, loaded_at FROM report").first { row in
            LoadedReport(
                manifest: row.text(0), asOf: Timestamp(nanoseconds: row.int64(1)),
                loadedAt: Timestamp(nanoseconds: row.int64(2)))
        }
    }
}

extension MetadataReader {
    /// The report that the store was loaded from last.
    package func loadedReport() throws(MetadataError) -> LoadedReport? {
        try guarded { statements throws(DatabaseError) in try statements.connection.loadedReport() }
    }
}
