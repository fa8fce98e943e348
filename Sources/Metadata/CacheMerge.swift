internal import Database
internal import ThawCore

/// Brings into a new file what the old one knows better than the report that the new one was made of: what was seen or
/// done since the report was begun, and what the report is not about.
struct CacheMerge {
    private let connection: Connection
    private let asOf: Timestamp
    private let scope: ObjectKey

    private static let columns = """
        segment, listing, checked_at, kind, size, modified, etag, class, restore, expiry, archive, version, \
        attributes_known, \(attributeColumns)
        """
    private static let oldColumns = columns.split(separator: ", ").map { "e.\($0)" }.joined(separator: ", ")
    /// Of the old file's directories, those of which everything counts: listed since, or not the report's business.
    private static let isWhole = "(o.listed_at > ?1 OR o.prefix < ?2 OR coalesce(o.prefix >= ?3, 0))"

    init(_ connection: Connection, asOf: Timestamp, scope: ObjectKey) {
        self.connection = connection
        self.asOf = asOf
        self.scope = scope
    }

    func take(_ old: String) throws(DatabaseError) {
        let attach = try connection.prepare("ATTACH ?1 AS old")
        try attach.bind(old, at: 1)
        try attach.run()
        try connection.transaction { () throws(DatabaseError) in
            try dropEmptied()
            try takeDirectories()
            try takeEntries()
            for sql in Schema.carryingOver(from: "old") { try connection.execute(sql) }
        }
        let id = try connection.prepare("PRAGMA old.application_id").first { Int32(truncatingIfNeeded: $0.int64(0)) }
        try connection.setApplicationID(id ?? Schema.mayMissUploads)
        try connection.execute("DETACH old")
    }

    /// What the report has of directories that were removed or moved away since.
    private func dropEmptied() throws(DatabaseError) {
        let query = try connection.prepare("SELECT prefix, emptied_at FROM old.directory WHERE emptied_at > ?1")
        try query.bind(asOf.nanoseconds, at: 1)
        for (prefix, time) in try query.all({ (ObjectKey($0.blob(0)), $0.int64(1)) }) {
            let isBelow = "prefix >= ?1 AND coalesce(prefix < ?2, 1)"
            for sql in [
                "DELETE FROM main.entry WHERE directory IN (SELECT id FROM main.directory WHERE \(isBelow))",
                "UPDATE main.directory SET listing = 0, started_at = 0, listed_at = 0, emptied_at = ?3 WHERE \(isBelow)",
            ] {
                let statement = try connection.prepare(sql)
                try statement.bind(prefix.bytes, at: 1)
                try statement.bind(prefix.successorOfPrefix?.bytes, at: 2)
                if sql.hasPrefix("UPDATE") { try statement.bind(time, at: 3) }
                try statement.run()
            }
        }
    }

    private func takeDirectories() throws(DatabaseError) {
        let matching = "FROM old.directory o CROSS JOIN main.directory n ON n.prefix = o.prefix"
        for sql in [
            "INSERT OR IGNORE INTO main.directory(prefix) SELECT o.prefix FROM old.directory o WHERE \(Self.isWhole)",
            "DELETE FROM main.entry WHERE directory IN (SELECT n.id \(matching) WHERE o.listed_at > ?1)",
            // Above the scope, the report has nothing but the way to it.
            """
            DELETE FROM main.entry WHERE (directory, segment) IN (SELECT n.id, e.segment
                \(matching) CROSS JOIN old.entry e ON e.directory = o.id WHERE o.prefix < ?2 AND e.checked_at > ?1)
            """,
            """
            INSERT OR REPLACE INTO main.directory(id, prefix, listing, started_at, listed_at, emptied_at)
                SELECT n.id, o.prefix, o.listing, o.started_at, o.listed_at, o.emptied_at \(matching)
                WHERE \(Self.isWhole)
            """,
            """
            INSERT OR IGNORE INTO main.entry(directory, \(Self.columns)) SELECT n.id, \(Self.oldColumns)
                \(matching) CROSS JOIN old.entry e ON e.directory = o.id WHERE \(Self.isWhole)
            """,
            // Names that somebody wanted to be asked for again are not to be missed.
            """
            UPDATE main.directory SET listing = 0, started_at = 0, listed_at = 0 WHERE listed_at <= ?1
                AND prefix IN (SELECT o.prefix FROM old.directory o
                    JOIN old.entry e ON e.directory = o.id WHERE e.checked_at = 0)
            """,
        ] {
            try run(sql)
        }
    }

    /// Single names that were looked at or changed since then, and attributes of objects that are still the same: those
    /// a report does not tell.
    private func takeEntries() throws(DatabaseError) {
        let newer = "FROM temp.known k CROSS JOIN old.directory o ON o.id = k.directory"
        let places = """
            CROSS JOIN old.entry e ON e.directory = k.directory AND e.segment = k.segment
            CROSS JOIN main.directory n ON n.prefix = o.prefix
            """
        let attributes = "attributes_known, \(attributeColumns)".split(separator: ", ").map { "e.\($0)" }
        for sql in [
            """
            CREATE TEMP TABLE known AS SELECT directory, segment, checked_at > ?1 AS is_newer FROM old.entry
                WHERE checked_at > ?1 OR attributes_known <> 0 OR archive IS NOT NULL OR restore = 2
            """,
            """
            INSERT OR IGNORE INTO main.directory(prefix)
                SELECT DISTINCT o.prefix \(newer) WHERE k.is_newer AND NOT \(Self.isWhole)
            """,
            """
            INSERT OR REPLACE INTO main.entry(directory, \(Self.columns))
                SELECT n.id, \(Self.oldColumns.replacing("e.listing", with: "0"))
                \(newer) \(places) WHERE k.is_newer AND NOT \(Self.isWhole)
            """,
            """
            INSERT OR REPLACE INTO main.entry(directory, segment, listing, checked_at, kind, size, modified, etag, class,
                    archive, restore, expiry, attributes_known, \(attributeColumns))
                SELECT m.directory, m.segment, m.listing, m.checked_at, m.kind, m.size, m.modified, m.etag, m.class,
                    coalesce(m.archive, e.archive),
                    iif(e.restore = 2 AND e.expiry > 0 AND m.class IS e.class, 2, 0),
                    iif(e.restore = 2 AND e.expiry > 0 AND m.class IS e.class, e.expiry, 0),
                    \(attributes.joined(separator: ", "))
                \(newer) \(places) CROSS JOIN main.entry m ON m.directory = n.id AND m.segment = e.segment
                WHERE NOT k.is_newer AND NOT \(Self.isWhole) AND m.kind = e.kind AND (m.kind = 2
                    OR m.etag = e.etag AND m.modified <= e.modified + 2000000000)
            """,
        ] {
            try run(sql)
        }
    }

    /// Runs a statement with `?1…?3`: the report's time, its scope, and the scope's end.
    private func run(_ sql: String) throws(DatabaseError) {
        let statement = try connection.prepare(sql)
        try statement.bind(asOf.nanoseconds, at: 1)
        if sql.contains("?2") { try statement.bind(scope.bytes, at: 2) }
        if sql.contains("?3") { try statement.bind(scope.successorOfPrefix?.bytes, at: 3) }
        try statement.run()
    }
}
