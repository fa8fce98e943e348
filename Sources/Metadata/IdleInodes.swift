internal import Database
internal import Glibc

/// What it takes to know an inode again that the kernel remembers and nobody uses.
package struct IdleInode: Equatable, Sendable {
    package var number: UInt64
    /// The inode of the directory that it is a name of.
    package var home: UInt64
    package var segment: [UInt8]
    package var isPlainlyNamed: Bool
    /// The version that was opened was asked, and is no symbolic link.
    package var isKnownRegular: Bool
    /// The version whose pages the kernel may still have; empty when it has none.
    package var openedETag: String
    /// Lookups that the kernel has not taken back.
    package var lookups: UInt64

    package init(
        number: UInt64, home: UInt64, segment: [UInt8], isPlainlyNamed: Bool, isKnownRegular: Bool, openedETag: String,
        lookups: UInt64
    ) {
        self.number = number
        self.home = home
        self.segment = segment
        self.isPlainlyNamed = isPlainlyNamed
        self.isKnownRegular = isKnownRegular
        self.openedETag = openedETag
        self.lookups = lookups
    }
}

/// Lookups of an inode that the kernel takes back.
package struct ForgottenLookups: Equatable, Sendable {
    package var number: UInt64
    package var count: UInt64

    package init(number: UInt64, count: UInt64) {
        self.number = number
        self.count = count
    }
}

/// The inodes that are too many for memory, on disk: in a file without a name, because it ends with the process.
///
/// Not `Sendable`; keep it behind a `Mutex`. Every call may block on the disk.
package final class IdleInodes {
    private let connection: Connection
    private let add: Statement
    private let take: Statement
    private let release: Statement
    private let reduce: Statement
    private let page: Statement

    /// In this directory, which is a mount's own; of so many pages of 4 KiB at most, if that is said.
    package init(in directory: String, pagesMax: Int? = nil) throws(MetadataError) {
        let path = directory + "/inodes.sqlite"
        // Left by a process that died between the two lines that make it.
        unlink(path)
        do throws(DatabaseError) {
            var options = Connection.Options()
            options.journal = .memory
            options.cacheSizeBytes = 2 << 20
            connection = try Connection(.file(path), options: options)
            // Others cannot find the file, and SQLite need not look whether they have changed it.
            try connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            try connection.execute(
                """
                CREATE TABLE idle(number INTEGER PRIMARY KEY, home INTEGER NOT NULL, plain INTEGER NOT NULL,
                    regular INTEGER NOT NULL, lookups INTEGER NOT NULL, segment BLOB NOT NULL, etag TEXT)
                """)
            if let pagesMax { try connection.execute("PRAGMA max_page_count = \(pagesMax)") }
            add = try connection.prepare(
                """
                INSERT INTO idle(number, home, plain, regular, lookups, segment, etag)
                VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)
                ON CONFLICT DO UPDATE SET home = excluded.home, plain = excluded.plain, segment = excluded.segment,
                    lookups = lookups + excluded.lookups, etag = coalesce(excluded.etag, etag),
                    regular = CASE WHEN excluded.etag IS NULL THEN regular ELSE excluded.regular END
                """)
            let columns = "number, home, plain, regular, lookups, segment, etag"
            take = try connection.prepare(
                "DELETE FROM idle WHERE number = ?1 RETURNING \(columns)")
            release = try connection.prepare(
                "DELETE FROM idle WHERE number = ?1 AND lookups <= ?2 RETURNING lookups")
            reduce = try connection.prepare("UPDATE idle SET lookups = lookups - ?2 WHERE number = ?1")
            page = try connection.prepare(
                "SELECT \(columns) FROM idle WHERE number >= ?1 ORDER BY number LIMIT ?2")
        } catch {
            throw .database(error)
        }
        unlink(path)
    }

    /// Takes in some of them, or none; of one that is here already the lookups are added. A transaction has a page in
    /// memory for nearly each.
    package func add(_ inodes: [IdleInode]) throws(MetadataError) {
        // In the order of the file, so that neighbours share its pages.
        let inodes = inodes.sorted { Int64(bitPattern: $0.number) < Int64(bitPattern: $1.number) }
        try guarded { () throws(DatabaseError) in
            try connection.transaction { () throws(DatabaseError) in
                for inode in inodes {
                    try add.bind(Int64(bitPattern: inode.number), at: 1)
                    try add.bind(Int64(bitPattern: inode.home), at: 2)
                    try add.bind(inode.isPlainlyNamed ? 1 : 0, at: 3)
                    try add.bind(inode.isKnownRegular ? 1 : 0, at: 4)
                    try add.bind(Int64(clamping: inode.lookups), at: 5)
                    try add.bind(inode.segment, at: 6)
                    try add.bind(inode.openedETag.isEmpty ? nil : inode.openedETag, at: 7)
                    try add.run()
                }
            }
        }
    }

    /// The inode of this number, which is here no longer.
    package func take(_ number: UInt64) throws(MetadataError) -> IdleInode? {
        try guarded { () throws(DatabaseError) in
            try take.bind(Int64(bitPattern: number), at: 1)
            return try take.first { $0.idleInode() }
        }
    }

    /// The kernel takes lookups back; inodes without any are dropped. Answers the lookups that are not of inodes here.
    package func release(_ lookups: some Sequence<ForgottenLookups>) throws(MetadataError) -> [ForgottenLookups] {
        let lookups = lookups.sorted { Int64(bitPattern: $0.number) < Int64(bitPattern: $1.number) }
        return try guarded { () throws(DatabaseError) in
            try connection.transaction { () throws(DatabaseError) in
                var elsewhere: [ForgottenLookups] = []
                for one in lookups {
                    let left = try remaining(of: one)
                    if left > 0 { elsewhere.append(ForgottenLookups(number: one.number, count: left)) }
                }
                return elsewhere
            }
        }
    }

    private func remaining(of one: ForgottenLookups) throws(DatabaseError) -> UInt64 {
        let count = Int64(clamping: one.count)
        try release.bind(Int64(bitPattern: one.number), at: 1)
        try release.bind(count, at: 2)
        if let here = try release.first({ $0.int64(0) }) { return UInt64(count - here) }
        try reduce.bind(Int64(bitPattern: one.number), at: 1)
        try reduce.bind(count, at: 2)
        try reduce.run()
        return connection.changes > 0 ? 0 : one.count
    }

    /// Some of them, in an order of no meaning: those after this one, or the first.
    package func page(after last: IdleInode?, limit: Int) throws(MetadataError) -> [IdleInode] {
        let (next, isPastEnd) = last.map { Int64(bitPattern: $0.number).addingReportingOverflow(1) } ?? (.min, false)
        if isPastEnd { return [] }
        return try guarded { () throws(DatabaseError) in
            try page.bind(next, at: 1)
            try page.bind(Int64(limit), at: 2)
            return try page.all { $0.idleInode() }
        }
    }

    private func guarded<Result>(_ body: () throws(DatabaseError) -> Result) throws(MetadataError) -> Result {
        do throws(DatabaseError) { return try body() } catch { throw .database(error) }
    }
}

extension Statement {
    fileprivate func idleInode() -> IdleInode {
        IdleInode(
            number: UInt64(bitPattern: int64(0)), home: UInt64(bitPattern: int64(1)), segment: blob(5),
            isPlainlyNamed: int64(2) != 0, isKnownRegular: int64(3) != 0, openedETag: isNull(6) ? "" : text(6),
            lookups: UInt64(clamping: int64(4)))
    }
}
