internal import Database
internal import Glibc
internal import ThawCore

/// Which segments are on disk, and which of them make room first: a SQLite file beside them. What it does not know of
/// is not in the cache; what it knows and the disk does not have is found out by the checksums. So nothing here waits
/// for the disk, and nothing is lost with it but what can be fetched again.
actor BlockIndex {
    private let executor: ThreadExecutor
    private let connection: Connection
    private let statements: Statements
    /// Those that somebody holds.
    private var objects: [BlockName: WeakReference<CachedObject>] = [:]
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// segment: a run of an object's blocks, see `SegmentName`.
    ///   object   `BlockName`
    ///   size     of the object, in bytes
    ///   bytes    that the blocks have which are there
    ///   worth    ns since the epoch; the earliest makes room first
    ///   sums     of each block eight bytes, big-endian; 0 = it is not there
    ///
    /// The file's application_id is 1 after an end in good order: then there are no files that it does not know.
    private static let schema = """
        CREATE TABLE segment(
            object BLOB NOT NULL,
            number INTEGER NOT NULL,
            size INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            worth INTEGER NOT NULL,
            sums BLOB NOT NULL,
            PRIMARY KEY(object, number)
        ) WITHOUT ROWID;
        CREATE INDEX segment_worth ON segment(worth);
        """
    static let version: Int32 = 1

    private struct Statements {
        let segments: Statement
        let upsert: Statement
        let remove: Statement
        let victims: Statement
        let total: Statement
        let has: Statement

        init(_ connection: Connection) throws(DatabaseError) {
            segments = try connection.prepare("SELECT number, worth, sums FROM segment WHERE object = ?1")
            upsert = try connection.prepare(
                """
                INSERT INTO segment(object, number, size, bytes, worth, sums) VALUES(?1, ?2, ?3, ?4, ?5, ?6)
                ON CONFLICT DO UPDATE SET bytes = ?4, worth = ?5, sums = ?6
                """)
            remove = try connection.prepare("DELETE FROM segment WHERE object = ?1 AND number = ?2")
            victims = try connection.prepare("SELECT object, number, bytes FROM segment ORDER BY worth LIMIT ?1")
            total = try connection.prepare("SELECT coalesce(sum(bytes), 0), count(*) FROM segment")
            has = try connection.prepare("SELECT 1 FROM segment WHERE object = ?1 AND number = ?2")
        }
    }

    struct Victim: Sendable {
        let name: SegmentName
        /// As its row says.
        let bytes: UInt64
        /// Set where somebody holds the object.
        let object: CachedObject?
    }

    /// Opens the file, or makes it; of so many pages of 4 KiB at most, if that is said.
    init(path: String, pagesMax: Int? = nil, executor: ThreadExecutor) throws(DatabaseError) {
        self.executor = executor
        connection = try Connection(.file(path))
        if try connection.userVersion == 0 {
            let connection = connection
            try connection.transaction { () throws(DatabaseError) in
                try connection.execute(Self.schema)
                try connection.setUserVersion(Self.version)
            }
        }
        guard try connection.userVersion == Self.version else {
            throw DatabaseError(code: 0, message: "a newer thawfs made the block cache", sql: nil)
        }
        if let pagesMax { try connection.execute("PRAGMA max_page_count = \(pagesMax)") }
        statements = try Statements(connection)
    }

    /// Whether the last use of it ended in good order; from now on this one has not.
    func begin() throws(DatabaseError) -> Bool {
        let wasEndedWell = try connection.applicationID == 1
        try connection.setApplicationID(0)
        return wasEndedWell
    }

    func end() throws(DatabaseError) {
        try connection.setApplicationID(1)
        try connection.checkpoint()
    }

    /// How much is there.
    func total() throws(DatabaseError) -> (bytes: UInt64, segments: Int) {
        try statements.total.first { ($0.uint64(0), Int($0.int64(1))) } ?? (0, 0)
    }

    func has(_ name: SegmentName) throws(DatabaseError) -> Bool {
        try bind(name, statements.has)
        return try statements.has.first { _ in true } ?? false
    }

    /// The object as everybody sees it who reads it.
    func object(_ name: BlockName, sizeBytes: UInt64) throws(DatabaseError) -> CachedObject {
        if let known = objects[name]?.value { return known }
        let query = statements.segments
        try query.bind(name.bytes, at: 1)
        defer { query.reset() }
        var segments: [UInt32: CachedObject.Segment] = [:]
        while try query.step() {
            let number = UInt32(truncatingIfNeeded: query.int64(0))
            let sums = Self.sums(query.blob(2))
            guard sums.count == CachedObject.blockCount(number, sizeBytes: sizeBytes) else { continue }
            segments[number] = .init(sums: sums, worth: Timestamp(nanoseconds: query.int64(1)))
        }
        let object = CachedObject(name: name, sizeBytes: sizeBytes, segments: segments)
        let reference = WeakReference<CachedObject>()
        reference.value = object
        objects[name] = reference
        if objects.count.isMultiple(of: 1024) { objects = objects.filter { $0.value.value != nil } }
        return object
    }

    /// Writes down how these segments stand now, in one transaction.
    func record(_ changed: [SegmentName: CachedObject]) throws(DatabaseError) {
        try connection.transaction { () throws(DatabaseError) in
            for (name, object) in changed {
                guard let segment = object.segment(name.number) else {
                    try bind(name, statements.remove)
                    try statements.remove.run()
                    continue
                }
                try bind(name, statements.upsert)
                try statements.upsert.bind(object.sizeBytes, at: 3)
                try statements.upsert.bind(object.presentBytes(name.number), at: 4)
                try statements.upsert.bind(segment.worth.nanoseconds, at: 5)
                try statements.upsert.bind(Self.bytes(segment.sums), at: 6)
                try statements.upsert.run()
            }
        }
    }

    /// Takes out the segments that are worth least, until they have so many bytes; not all at once where that takes
    /// many. Their files are still there.
    func takeLeastWorth(_ bytes: UInt64) throws(DatabaseError) -> [Victim] {
        try connection.transaction { () throws(DatabaseError) in
            let victims = try leastWorth(bytes)
            for victim in victims {
                try bind(victim.name, statements.remove)
                try statements.remove.run()
            }
            return victims
        }
    }

    /// What `takeLeastWorth` would take out.
    func leastWorth(_ bytes: UInt64) throws(DatabaseError) -> [Victim] {
        try statements.victims.bind(64, at: 1)
        defer { statements.victims.reset() }
        var victims: [Victim] = []
        var sum: UInt64 = 0
        while sum < bytes, try statements.victims.step() {
            sum += statements.victims.uint64(2)
            guard let object = BlockName(bytes: statements.victims.blob(0)) else { continue }
            let name = SegmentName(object: object, number: UInt32(truncatingIfNeeded: statements.victims.int64(1)))
            victims.append(Victim(name: name, bytes: statements.victims.uint64(2), object: objects[object]?.value))
        }
        return victims
    }

    private func bind(_ name: SegmentName, _ statement: Statement) throws(DatabaseError) {
        try statement.bind(name.object.bytes, at: 1)
        try statement.bind(Int64(name.number), at: 2)
    }

    private static func sums(_ bytes: [UInt8]) -> [UInt64] {
        stride(from: 0, to: bytes.count, by: 8).map { start in
            bytes[start..<min(start + 8, bytes.count)].reduce(0) { $0 << 8 | UInt64($1) }
        }
    }

    private static func bytes(_ sums: [UInt64]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(sums.count * 8)
        for sum in sums { withUnsafeBytes(of: sum.bigEndian) { bytes.append(contentsOf: $0) } }
        return bytes
    }
}

extension BlockIndex {
    struct Checked: Sendable {
        let name: SegmentName
        let segment: CachedObject.Segment
        /// Of the object.
        let sizeBytes: UInt64
        /// Of the blocks that are there.
        let bytes: UInt64
    }

    /// The segments after this one (nil: the first), for who looks through all of them.
    func segments(after name: SegmentName?, limit: Int) throws(DatabaseError) -> [Checked] {
        let query = try connection.prepare(
            """
            SELECT object, number, size, worth, sums, bytes FROM segment WHERE (object, number) > (?1, ?2)
            ORDER BY object, number LIMIT ?3
            """)
        try query.bind(name?.object.bytes ?? [], at: 1)
        try query.bind(Int64(name?.number ?? 0), at: 2)
        try query.bind(limit, at: 3)
        var found: [Checked] = []
        while try query.step() {
            guard let object = BlockName(bytes: query.blob(0)) else { continue }
            let segment = CachedObject.Segment(
                sums: Self.sums(query.blob(4)), worth: Timestamp(nanoseconds: query.int64(3)))
            let name = SegmentName(object: object, number: UInt32(truncatingIfNeeded: query.int64(1)))
            found.append(Checked(name: name, segment: segment, sizeBytes: query.uint64(2), bytes: query.uint64(5)))
        }
        return found
    }

    func remove(_ names: [SegmentName]) throws(DatabaseError) {
        try connection.transaction { () throws(DatabaseError) in
            for name in names {
                try bind(name, statements.remove)
                try statements.remove.run()
            }
        }
    }
}
