internal import Database
internal import ObjectStore
package import ThawCore

/// What is cancelled, counted and forgotten.
extension MetadataWriter {
    /// Takes an object that is not settled, or one in whatever state, out of care; nil when there is none.
    package func cancel(
        _ key: ObjectKey, version: String?, evenSettled: Bool = false, at now: Timestamp
    ) throws(MetadataError) -> (row: RestoreRow, changes: RestoreChanges)? {
        try durably { connection, statements throws(DatabaseError) in
            var changes = RestoreChanges()
            guard let row = try Self.find(key, version, statements), row.state.isPending || evenSettled else {
                return nil
            }
            try Self.cancel(row, statements)
            if row.state == .queued { try Self.refund(row, statements, &changes) }
            changes.finished = try Self.finish(at: now, connection, statements)
            return (row, changes)
        }
    }

    /// Takes out of care what is below the prefix and is not known to be asked for; requests look no further there.
    /// Answers how much that was.
    package func cancelQueued(
        below prefix: ObjectKey, at now: Timestamp
    ) throws(MetadataError) -> (tally: Tally, changes: RestoreChanges) {
        try durably { connection, statements throws(DatabaseError) in
            let (first, end) = (prefix.bytes, prefix.successorOfPrefix?.bytes)
            func select(_ columns: String, _ table: String) throws(DatabaseError) -> Statement {
                let statement = try connection.prepare(
                    "SELECT \(columns) FROM \(table) AND key >= ?1 AND (?2 IS NULL OR key < ?2)")
                try statement.bind(first, at: 1)
                try statement.bind(end, at: 2)
                return statement
            }
            var changes = RestoreChanges()
            let scopes = try Self.collecting(connection)
            for (request, scope) in scopes where scope.key.hasPrefix(prefix) {
                try Self.bind(scope, of: request, to: statements.dropScope)
                try statements.dropScope.run()
                try Self.endCollecting(request, statements)
                changes.isCutShort = true
            }
            // What is looked through for more than this would bring it back.
            for (request, scope) in scopes
            where scope.kind != .object && prefix.hasPrefix(scope.key) && prefix != scope.key {
                let exception = ScopeRow(kind: .exception, key: prefix, version: nil)
                try Self.bind(exception, of: request, to: statements.addScope)
                try statements.addScope.run()
                changes.isCutShort = true
            }
            let queued = "restore WHERE state IN (0, 1) AND version = ''"
            let rows = try select(restoreColumns, queued).all { $0.restoreRow() }
            var tally = Tally()
            for row in rows {
                tally.add(row.sizeBytes)
                if let slowTier = row.slowTier {
                    // What is dropped is the faster tier.
                    var slow = row
                    (slow.state, slow.order.tier, slow.slowTier) = (.restoring, slowTier, nil)
                    try Self.store(slow, before: row, statements)
                    continue
                }
                try Self.cancel(row, statements)
                if row.state == .queued { try Self.refund(row, statements, &changes) }
            }
            changes.finished = try Self.finish(at: now, connection, statements)
            return (tally, changes)
        }
    }

    private static func cancel(_ row: RestoreRow, _ statements: RestoreStatements) throws(DatabaseError) {
        try statements.noteCancelled.bind(row.id, at: 1)
        try statements.noteCancelled.bind(Int64(clamping: row.sizeBytes), at: 2)
        try statements.noteCancelled.run()
        try statements.dropWishesOf.bind(row.id, at: 1)
        try statements.dropWishesOf.run()
        try statements.drop.bind(row.id, at: 1)
        try statements.drop.run()
    }

    // MARK: Spending

    /// What the account was charged since then, by minutes since the epoch.
    package func spending(
        of account: String, since minute: Int64
    ) throws(MetadataError) -> [(minute: Int64, bytes: UInt64)] {
        try restoring { connection, _ throws(DatabaseError) in
            let query = try connection.prepare(
                "SELECT minute, bytes FROM spending WHERE account = ?1 AND minute >= ?2 ORDER BY minute")
            try query.bind(account, at: 1)
            try query.bind(minute, at: 2)
            return try query.all { ($0.int64(0), $0.uint64(1)) }
        }
    }

    /// Takes back a charge that came to nothing.
    package func refund(_ charge: Charge) throws(MetadataError) {
        try restoring { _, statements throws(DatabaseError) in try Self.refund(charge, statements) }
    }

    /// Drops requests that were never committed: whoever described them is gone.
    package func forgetUncommitted() throws(MetadataError) {
        try restoring { connection, _ throws(DatabaseError) in
            try connection.execute(
                """
                DELETE FROM scope WHERE request IN (SELECT id FROM request WHERE stage = 0);
                DELETE FROM request WHERE stage = 0
                """)
        }
    }

    /// Drops what is kept only for people to look at: finished requests but the last ones, failures that nobody came
    /// back to, charges of long ago.
    package func forgetOldRestores(at now: Timestamp) throws(MetadataError) {
        let (weekAgo, monthAgo) = ((now - .seconds(7 * 86400)).nanoseconds, now.minute - 32 * 24 * 60)
        try restoring { connection, _ throws(DatabaseError) in
            try connection.execute(
                """
                DELETE FROM scope WHERE request IN (SELECT id FROM request WHERE stage = 3);
                DELETE FROM request WHERE stage = 3 AND (finished_at < \(weekAgo)
                    OR id NOT IN (SELECT id FROM request WHERE stage = 3 ORDER BY id DESC LIMIT 1000));
                DELETE FROM restore WHERE state >= 3 AND (state = 3 OR due_at < \(weekAgo))
                    AND id NOT IN (SELECT restore FROM wish);
                DELETE FROM spending WHERE minute < \(monthAgo)
                """)
        }
    }
}
