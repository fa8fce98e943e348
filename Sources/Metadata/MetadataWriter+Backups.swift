internal import Database
package import ThawCore

/// Restores from backups. What is wished for is on the disk when the call returns.
extension MetadataWriter {
    /// A directory's new wish takes the place of its earlier one. Answers the rows with their ids.
    package func wish(_ backups: [BackupRow], below prefix: ObjectKey) throws(MetadataError) -> [BackupRow] {
        try committing(.full) { connection, _ throws(DatabaseError) in
            try Self.dropBackups(below: prefix, connection)
            var rows: [BackupRow] = []
            for var row in backups {
                let insert = try connection.prepare(
                    "INSERT INTO backup(\(backupColumns)) VALUES(NULL, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)")
                try insert.bindBackup(row)
                try insert.run()
                row.id = connection.lastInsertRowID
                rows.append(row)
            }
            return rows
        }
    }

    /// What has become of it. Nothing happens when the row is gone.
    package func update(_ backup: BackupRow) throws(MetadataError) {
        try committing(.full) { connection, _ throws(DatabaseError) in
            let update = try connection.prepare(
                """
                UPDATE backup SET prefix = ?2, vault = ?3, snapshot = ?4, include = ?5, exclude = ?6, wished_at = ?7,
                    stage = ?8, job = ?9, status = ?10, error = ?11, error_file = ?12, ended_at = ?13
                WHERE id = ?1
                """)
            try update.bind(backup.id, at: 1)
            try update.bindBackup(backup)
            try update.run()
        }
    }

    package func dropBackups(below prefix: ObjectKey) throws(MetadataError) {
        try committing(.full) { connection, _ throws(DatabaseError) in
            try Self.dropBackups(below: prefix, connection)
        }
    }

    private static func dropBackups(below prefix: ObjectKey, _ connection: Connection) throws(DatabaseError) {
        let delete = try connection.prepare("DELETE FROM backup WHERE prefix = ?1")
        try delete.bind(prefix.bytes, at: 1)
        try delete.run()
    }

    /// All that is known, the oldest first; what ended before then is forgotten.
    package func backups(endedSince time: Timestamp) throws(MetadataError) -> [BackupRow] {
        try committing(.normal) { connection, _ throws(DatabaseError) in
            let delete = try connection.prepare("DELETE FROM backup WHERE stage = ?1 AND ended_at < ?2")
            try delete.bind(BackupRow.Stage.ended.rawValue, at: 1)
            try delete.bind(time.nanoseconds, at: 2)
            try delete.run()
            return try connection.rows("SELECT \(backupColumns) FROM backup ORDER BY id") { $0.backupRow() }
        }
    }
}

private let backupColumns = """
    id, prefix, vault, snapshot, include, exclude, wished_at, stage, job, status, error, error_file, ended_at
    """

extension Statement {
    fileprivate func backupRow() -> BackupRow {
        func text(_ column: Int) -> String? { isNull(column) ? nil : self.text(column) }
        func paths(_ column: Int) -> [String] {
            JSON(Array(self.text(column).utf8))?.array?.compactMap(\.string) ?? []
        }
        var row = BackupRow(
            prefix: ObjectKey(blob(1)), vault: self.text(2), snapshot: self.text(3), include: paths(4), exclude: paths(5),
            wishedAt: Timestamp(nanoseconds: int64(6)))
        row.id = int64(0)
        row.stage = BackupRow.Stage(rawValue: int64(7)) ?? .wished
        row.job = text(8)
        row.status = text(9)
        row.error = text(10)
        row.errorFile = text(11)
        row.endedAt = Timestamp(nanoseconds: int64(12))
        return row
    }

    /// Binds everything but the id, to `?2…?13`.
    fileprivate func bindBackup(_ row: BackupRow) throws(DatabaseError) {
        func text(_ paths: [String]) -> String { JSON.array(paths.map { .string($0) }).text }
        try bind(row.prefix.bytes, at: 2)
        try bind(row.vault, at: 3)
        try bind(row.snapshot, at: 4)
        try bind(text(row.include), at: 5)
        try bind(text(row.exclude), at: 6)
        try bind(row.wishedAt.nanoseconds, at: 7)
        try bind(row.stage.rawValue, at: 8)
        try bind(row.job, at: 9)
        try bind(row.status, at: 10)
        try bind(row.error, at: 11)
        try bind(row.errorFile, at: 12)
        try bind(row.endedAt.nanoseconds, at: 13)
    }
}
