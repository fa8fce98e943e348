internal import Database
package import ThawCore
internal import Wire

/// What became of rows that were told of events.
package struct RestoreChanges: Sendable {
    /// As they are now; a row that was cancelled meanwhile is missing.
    package var rows: [RestoreRow] = []
    package var finished: [RequestCount] = []
    /// What the reads' budget was charged, and given back.
    package var chargedBytes: UInt64 = 0
    package var refundedBytes: UInt64 = 0
    /// Requests look through less than they were asked to.
    package var isCutShort = false
}

/// How a wish for an object meets what is known of it: nil to leave that as it is. Pure, for it runs in a transaction.
package typealias RestoreMerge = @Sendable (_ known: RestoreRow?, _ wished: RestoreRow) -> RestoreRow?

/// Bytes that an account has to bear.
package struct Charge: Sendable {
    package var account: String
    package var bytes: UInt64

    package init(account: String, bytes: UInt64) {
        self.account = account
        self.bytes = bytes
    }
}

/// Rows to be asked for.
package struct RestoreClaim: Sendable {
    package var rows: [RestoreRow]
    /// More are due, which the bytes do not allow.
    package var isHeldBack: Bool
}

/// The durable queue of restores: requests, the objects they want, and how far each is.
extension MetadataWriter {
    /// The account that bears what reads have restored.
    package static let readsAccount = "reads"

    // MARK: Wishing

    /// Takes in a request for one object, all at once; on the disk when this returns. Answers the object as it stands
    /// then, and the requests that this finished.
    package func wish(
        _ item: RestoreRow, by request: RequestRow, at now: Timestamp, merging merge: RestoreMerge
    ) throws(MetadataError) -> RestoreChanges {
        try durably { connection, statements throws(DatabaseError) in
            let id = try Self.open(request, connection, statements)
            var changes = RestoreChanges()
            try Self.take(item, into: id, at: now, connection, statements, merge, &changes)
            changes.finished = try Self.finish(at: now, connection, statements)
            return changes
        }
    }

    /// Begins a request whose scopes are told one after the other. Answers its id.
    package func open(_ request: RequestRow) throws(MetadataError) -> Int64 {
        try restoring { connection, statements throws(DatabaseError) in
            try Self.open(request, connection, statements)
        }
    }

    package func add(_ scopes: [ScopeRow], to request: Int64) throws(MetadataError) {
        try restoring { _, statements throws(DatabaseError) in
            for scope in scopes {
                try Self.bind(scope, of: request, to: statements.addScope)
                try statements.addScope.run()
            }
        }
    }

    /// From here on the request is a promise; on the disk when this returns.
    package func commit(_ request: Int64) throws(MetadataError) {
        try durably { _, statements throws(DatabaseError) in try Self.set(.collecting, request, statements) }
    }

    /// Forgets a request that was never committed.
    package func abandon(_ request: Int64) throws(MetadataError) {
        try restoring { connection, _ throws(DatabaseError) in
            try connection.execute(
                """
                DELETE FROM scope WHERE request = \(request)
                    AND EXISTS (SELECT 1 FROM request WHERE id = \(request) AND stage = 0);
                DELETE FROM request WHERE id = \(request) AND stage = 0
                """)
        }
    }

    // MARK: Collecting

    /// Requests whose scopes are being looked through, the oldest first.
    package func collecting() throws(MetadataError) -> [RequestRow] {
        try restoring { connection, _ throws(DatabaseError) in
            try connection.rows(
                "SELECT \(requestColumns) FROM request WHERE stage < 3 AND stage = 1 ORDER BY id") { $0.requestRow() }
        }
    }

    /// What is still to be looked through: up to `limit` single objects in key order, then directories, then trees.
    package func scopes(of request: Int64, limit: Int) throws(MetadataError) -> [ScopeRow] {
        try restoring { connection, _ throws(DatabaseError) in
            let sql = """
                SELECT kind, key, version, cursor FROM scope WHERE request = \(request) AND kind < 3
                ORDER BY kind, key, version LIMIT \(limit)
                """
            return try connection.rows(sql) { $0.scopeRow() }
        }
    }

    /// How far a request's scopes have been looked through.
    package enum Progress: Sendable {
        case through([ScopeRow])
        case reached(ScopeRow, ObjectKey)
    }

    /// Takes in objects that were found in a request's scopes. With the last scope, all of them are known. Nil, and
    /// nothing is taken in, when the scopes were cancelled meanwhile.
    package func collect(
        _ items: [RestoreRow], into request: Int64, _ progress: Progress, at now: Timestamp,
        merging merge: RestoreMerge
    ) throws(MetadataError) -> RestoreChanges? {
        try restoring { connection, statements throws(DatabaseError) in
            var changes = RestoreChanges()
            guard try Self.isWanted(progress, request, connection, statements) else { return nil }
            var isOfObjects = false
            if case .through(let scopes) = progress { isOfObjects = scopes.first?.kind == .object }
            let excepted = try Self.exceptions(of: request, connection)
            for item in items where !excepted.contains(where: { item.key.hasPrefix($0) }) {
                let scope = ScopeRow(kind: .object, key: item.key, version: item.version)
                if isOfObjects, try !Self.isThere(scope, of: request, statements) { continue }
                try Self.take(item, into: request, at: now, connection, statements, merge, &changes)
            }
            changes.rows = []
            switch progress {
            case .through(let scopes):
                for scope in scopes {
                    try Self.bind(scope, of: request, to: statements.dropScope)
                    try statements.dropScope.run()
                }
            case .reached(let scope, let key):
                try Self.bind(scope, of: request, to: statements.moveCursor)
                try statements.moveCursor.bind(key.bytes, at: 5)
                try statements.moveCursor.run()
            }
            try Self.endCollecting(request, statements)
            changes.finished = try Self.finish(at: now, connection, statements)
            return changes
        }
    }

    /// The scopes cannot be looked through: what was found so far is all there will be.
    package func endCollecting(
        _ request: Int64, because reason: String, at now: Timestamp
    ) throws(MetadataError) -> RestoreChanges {
        try restoring { connection, statements throws(DatabaseError) in
            let note = try connection.prepare("UPDATE request SET error = ?2, incomplete = 1 WHERE id = ?1")
            try note.bind(request, at: 1)
            try note.bind(reason, at: 2)
            try note.run()
            try connection.execute("DELETE FROM scope WHERE request = \(request)")
            try Self.endCollecting(request, statements)
            var changes = RestoreChanges()
            changes.finished = try Self.finish(at: now, connection, statements)
            return changes
        }
    }
}
