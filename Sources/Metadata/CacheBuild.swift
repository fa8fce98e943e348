internal import Database
internal import ThawCore
internal import Wire

/// The file that a `CacheLoad` builds. Directories come into being with the first key below them.
final class CacheBuild {
    private let connection: Connection
    private let prefix: ObjectKey
    private let asOf: Timestamp
    private let insertEntry: Statement
    private let insertSubdirectory: Statement
    private let insertDirectory: Statement
    private let findDirectory: Statement
    private var boundClass = -1

    /// The directory of the key before, and those above it: keys that come in order seldom ask for another.
    private var path: [UInt8]
    private var levels: [(end: Int, id: Int64)]
    /// What all keys begin with; nil before the first.
    private var common: [UInt8]?

    init(_ connection: Connection, _ prefix: ObjectKey, asOf: Timestamp) throws(DatabaseError) {
        self.connection = connection
        self.prefix = prefix
        self.asOf = asOf
        _ = try Schema.prepare(connection)
        try connection.execute(Connection.reportTable)
        try connection.execute("BEGIN IMMEDIATE")
        insertEntry = try connection.prepare(
            """
            INSERT OR REPLACE INTO entry(directory, segment, listing, checked_at, kind, size, modified, etag, class,
                archive) VALUES(?1, ?2, 1, ?3, 1, ?4, ?5, ?6, ?7, ?8)
            """)
        insertSubdirectory = try connection.prepare(
            "INSERT INTO entry(directory, segment, listing, checked_at, kind) VALUES(?1, ?2, 1, ?3, 2)")
        insertDirectory = try connection.prepare(
            "INSERT INTO directory(prefix, listing, started_at, listed_at) VALUES(?1, 1, ?2, ?2)")
        findDirectory = try connection.prepare("SELECT id FROM directory WHERE prefix = ?1")
        // These keep their values from row to row.
        try insertEntry.bind(asOf.nanoseconds, at: 3)
        try insertSubdirectory.bind(asOf.nanoseconds, at: 3)
        try insertDirectory.bind(asOf.nanoseconds, at: 2)
        try insertDirectory.bind(prefix.bytes, at: 1)
        try insertDirectory.run()
        path = prefix.bytes
        levels = [(end: prefix.bytes.count, id: connection.lastInsertRowID)]
    }

    // MARK: Objects

    func add(_ batch: LoadBatch) throws(DatabaseError) {
        let result: Result<Void, DatabaseError> = batch.bytes.withUnsafeBytes { bytes in
            do throws(DatabaseError) { return .success(try add(batch, bytes)) } catch { return .failure(error) }
        }
        try result.get()
    }

    private func add(_ batch: LoadBatch, _ bytes: UnsafeRawBufferPointer) throws(DatabaseError) {
        var offset = 0
        for row in batch.rows {
            let keyEnd = offset + row.keyBytes
            let key = UnsafeRawBufferPointer(rebasing: bytes[offset..<keyEnd])
            offset = keyEnd + row.etagBytes
            narrow(key)
            guard key.starts(with: prefix.bytes) else { continue }
            let (directory, start) = try directory(of: key)
            // A marker is its directory.
            if start == key.count, row.sizeBytes == 0 { continue }
            try insertEntry.bind(directory, at: 1)
            try insertEntry.bind(UnsafeRawBufferPointer(rebasing: key[start...]), at: 2)
            try insertEntry.bind(Int64(clamping: row.sizeBytes), at: 4)
            try insertEntry.bind(row.modified.nanoseconds, at: 5)
            try insertEntry.bind(text: UnsafeRawBufferPointer(rebasing: bytes[keyEnd..<offset]), at: 6)
            if row.storageClass != boundClass {
                try insertEntry.bind(batch.classes[row.storageClass].name, at: 7)
                boundClass = row.storageClass
            }
            try insertEntry.bind(row.archiveStatus?.rawValue, at: 8)
            try insertEntry.run()
        }
    }

    private func narrow(_ key: UnsafeRawBufferPointer) {
        guard let common else { return common = Array(key) }
        let count = Self.commonCount(common, key)
        if count < common.count { self.common = Array(common[..<count]) }
    }

    private static func commonCount(_ left: [UInt8], _ right: UnsafeRawBufferPointer) -> Int {
        left.withUnsafeBytes { left in
            let limit = min(left.count, right.count)
            var count = 0
            while count < limit, left[count] == right[count] { count += 1 }
            return count
        }
    }

    // MARK: Directories

    /// The directory that a key stands in, and where its segment begins.
    private func directory(of key: UnsafeRawBufferPointer) throws(DatabaseError) -> (id: Int64, start: Int) {
        let start = Self.endOfDirectory(key)
        let shared = Self.commonCount(path, UnsafeRawBufferPointer(rebasing: key[..<start]))
        if shared < path.count || start > path.count {
            while let level = levels.last, level.end > shared, levels.count > 1 { levels.removeLast() }
            try descend(key, to: start)
            path = Array(key[..<start])
        }
        return (levels[levels.count - 1].id, start)
    }

    private static func endOfDirectory(_ key: UnsafeRawBufferPointer) -> Int {
        var end = key.count
        while end > 0, key[end - 1] != UInt8(ascii: "/") { end -= 1 }
        return end
    }

    /// From the last of the levels down to the directory that ends there.
    private func descend(_ key: UnsafeRawBufferPointer, to end: Int) throws(DatabaseError) {
        guard let top = levels.last, top.end < end else { return }
        if let id = try find(UnsafeRawBufferPointer(rebasing: key[..<end])) { return levels.append((end, id)) }
        var parent = top
        while let slash = key[parent.end..<end].firstIndex(of: UInt8(ascii: "/")) {
            let child = UnsafeRawBufferPointer(rebasing: key[...slash])
            var id = try find(child)
            if id == nil {
                try insertDirectory.bind(child, at: 1)
                try insertDirectory.run()
                id = connection.lastInsertRowID
                try insertSubdirectory.bind(parent.id, at: 1)
                try insertSubdirectory.bind(UnsafeRawBufferPointer(rebasing: key[parent.end...slash]), at: 2)
                try insertSubdirectory.run()
            }
            parent = (slash + 1, id ?? 0)
            levels.append(parent)
        }
    }

    private func find(_ prefix: UnsafeRawBufferPointer) throws(DatabaseError) -> Int64? {
        try findDirectory.bind(prefix, at: 1)
        defer { findDirectory.reset() }
        return try findDirectory.step() ? findDirectory.int64(0) : nil
    }

    // MARK: The end

    /// Carries over what the file at `old` knows better, and its promises.
    func finish(_ report: LoadedReport, old: String) throws(DatabaseError) {
        // A report of another place says nothing of this one.
        if let all = common, !all.starts(with: prefix.bytes), !prefix.bytes.starts(with: all) { common = nil }
        let scope = scope
        try forgetAncestors(of: scope)
        let statement = try connection.prepare("INSERT INTO report(manifest, as_of, loaded_at) VALUES(?1, ?2, ?3)")
        try statement.bind(report.manifest, at: 1)
        try statement.bind(report.asOf.nanoseconds, at: 2)
        try statement.bind(report.loadedAt.nanoseconds, at: 3)
        try statement.run()
        try connection.execute("COMMIT")
        try CacheMerge(connection, asOf: asOf, scope: scope).take(old)
    }

    /// What the report can be about as a whole: the deepest directory that has all its keys. A report may be of one
    /// prefix only, and does not say so.
    private var scope: ObjectKey {
        let all = (common ?? []).withUnsafeBytes { ObjectKey($0[..<Self.endOfDirectory($0)]) }
        return prefix.hasPrefix(all) ? prefix : all
    }

    /// What is above the scope has names that the report does not tell. Of no keys at all that is everything.
    private func forgetAncestors(of scope: ObjectKey) throws(DatabaseError) {
        let forget = try connection.prepare(
            "UPDATE directory SET listing = 0, started_at = 0, listed_at = 0 WHERE prefix = ?1")
        var directory = common == nil ? scope : scope.placeOfDirectory?.directory
        while let current = directory {
            try forget.bind(current.bytes, at: 1)
            try forget.run()
            directory = current.placeOfDirectory?.directory
        }
    }
}
