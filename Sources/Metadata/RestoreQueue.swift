internal import Database
package import ThawCore
internal import Wire

/// What became of rows that were told of events.
package struct RestoreChanges: Sendable {
    /// As they are now; a row that was cancelled meanwhile is missing.
    package var rows: [RestoreRow] = []
    package var finished: [RequestCount] = []
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
    // MARK: Wishing

    /// Takes in a request for one object, all at once; on the disk when this returns. Answers the object as it stands
    /// then, and the requests that this finished.
    package func wish(
        _ item: RestoreRow, by request: RequestRow, charging charge: Charge? = nil, at now: Timestamp,
        merging merge: RestoreMerge
    ) throws(MetadataError) -> RestoreChanges {
        try durably { connection, statements throws(DatabaseError) in
            let id = try Self.open(request, connection, statements)
            var changes = RestoreChanges()
            changes.rows = try [Self.take(item, into: id, connection, statements, merge)]
            try Self.bear(charge, at: now, statements)
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
                SELECT kind, key, version, cursor FROM scope WHERE request = \(request)
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
        _ items: [RestoreRow], into request: Int64, _ progress: Progress, charging charge: Charge?, at now: Timestamp,
        merging merge: RestoreMerge
    ) throws(MetadataError) -> RestoreChanges? {
        try restoring { connection, statements throws(DatabaseError) in
            var changes = RestoreChanges()
            guard try Self.isWanted(progress, request, connection, statements) else { return nil }
            var isOfObjects = false
            if case .through(let scopes) = progress { isOfObjects = scopes.first?.kind == .object }
            for item in items {
                let scope = ScopeRow(kind: .object, key: item.key, version: item.version)
                if isOfObjects, try !Self.isThere(scope, of: request, statements) { continue }
                _ = try Self.take(item, into: request, connection, statements, merge)
            }
            try Self.bear(charge, at: now, statements)
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
            let note = try connection.prepare("UPDATE request SET error = ?2 WHERE id = ?1")
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

    // MARK: Working

    /// Takes the next objects of a lane that may be asked for, those that somebody waits for first, as long as they
    /// have no more than `bytesMax` together, and charges the lane for them. They are `asking` from here on.
    package func claim(
        lane: String, limit: Int, bytesMax: UInt64?, at now: Timestamp
    ) throws(MetadataError) -> RestoreClaim {
        try restoring { _, statements throws(DatabaseError) in
            try statements.queued.bind(lane, at: 1)
            try statements.queued.bind(now.nanoseconds, at: 2)
            try statements.queued.bind(limit, at: 3)
            var claimed = try statements.queued.all { $0.restoreRow() }
            var bytesLeft = bytesMax ?? .max
            let within = claimed.prefix { row in
                guard bytesMax != nil else { return true }
                guard row.sizeBytes <= bytesLeft else { return false }
                bytesLeft -= row.sizeBytes
                return true
            }
            let isHeldBack = within.count < claimed.count
            claimed = Array(within)
            for index in claimed.indices {
                claimed[index].state = .asking
                try statements.markAsking.bind(claimed[index].id, at: 1)
                try statements.markAsking.run()
            }
            if let bytesMax { try Self.bear(Charge(account: lane, bytes: bytesMax - bytesLeft), at: now, statements) }
            return RestoreClaim(rows: claimed, isHeldBack: isHeldBack)
        }
    }

    /// Tells rows, by id, what happened to them; `apply` says what that makes of them.
    package func change<Event: Sendable>(
        _ events: [(id: Int64, event: Event)], at now: Timestamp, _ apply: @Sendable (RestoreRow, Event) -> RestoreRow
    ) throws(MetadataError) -> RestoreChanges {
        try restoring { connection, statements throws(DatabaseError) in
            var changes = RestoreChanges()
            for (id, event) in events {
                try statements.byID.bind(id, at: 1)
                guard let row = try statements.byID.first({ $0.restoreRow() }) else { continue }
                let changed = apply(row, event)
                if changed != row { try Self.store(changed, before: row, statements) }
                changes.rows.append(changed)
            }
            changes.finished = try Self.finish(at: now, connection, statements)
            return changes
        }
    }

    /// Rows that are to be looked at or renewed by then, in key order.
    package func due(
        by time: Timestamp, after position: (key: ObjectKey, version: String?), limit: Int
    ) throws(MetadataError) -> [RestoreRow] {
        try restoring { _, statements throws(DatabaseError) in
            try statements.due.bind(time.nanoseconds, at: 1)
            try statements.due.bind(position.key.bytes, at: 2)
            try statements.due.bind(position.version ?? "", at: 3)
            try statements.due.bind(limit, at: 4)
            return try statements.due.all { $0.restoreRow() }
        }
    }

    /// When the next row is to be looked at or renewed.
    package func nextDue() throws(MetadataError) -> Timestamp? {
        try restoring { connection, _ throws(DatabaseError) in
            try connection.rows("SELECT min(due_at) FROM restore WHERE state IN (2, 3)") {
                $0.isNull(0) ? nil : Timestamp(nanoseconds: $0.int64(0))
            }.first ?? nil
        }
    }

    /// Current versions that the provider is at work on, from this key on.
    package func restoring(from first: ObjectKey, limit: Int) throws(MetadataError) -> [RestoreRow] {
        try restoring { _, statements throws(DatabaseError) in
            try statements.underWay.bind(first.bytes, at: 1)
            try statements.underWay.bind(limit, at: 2)
            return try statements.underWay.all { $0.restoreRow() }
        }
    }

    /// Rows whose request was on its way when an earlier daemon ended.
    package func leftAsking() throws(MetadataError) -> [RestoreRow] {
        try restoring { connection, _ throws(DatabaseError) in
            try connection.rows("SELECT \(restoreColumns) FROM restore WHERE state = 1 ORDER BY key, version") {
                $0.restoreRow()
            }
        }
    }

    /// Lanes with queued rows, and when the first of each may be asked for.
    package func queuedLanes() throws(MetadataError) -> [(lane: String, from: Timestamp)] {
        try restoring { connection, _ throws(DatabaseError) in
            try connection.rows("SELECT lane, min(due_at) FROM restore WHERE state = 0 GROUP BY lane") {
                ($0.text(0), Timestamp(nanoseconds: $0.int64(1)))
            }
        }
    }

    /// When the first of a lane's queued rows may be asked for; nil when none is queued.
    package func nextQueued(lane: String) throws(MetadataError) -> Timestamp? {
        try restoring { _, statements throws(DatabaseError) in
            try statements.nextQueued.bind(lane, at: 1)
            return try statements.nextQueued.first { $0.isNull(0) ? nil : Timestamp(nanoseconds: $0.int64(0)) } ?? nil
        }
    }

    /// Looks at a row as soon as there is time, if the provider is at work on it.
    package func hasten(_ key: ObjectKey, version: String?) throws(MetadataError) -> Bool {
        try restoring { connection, _ throws(DatabaseError) in
            let hasten = try connection.prepare(
                "UPDATE restore SET due_at = 0 WHERE key = ?1 AND version = ?2 AND state = 2")
            try hasten.bind(key.bytes, at: 1)
            try hasten.bind(version ?? "", at: 2)
            try hasten.run()
            return connection.changes > 0
        }
    }

    // MARK: Cancelling

    /// Takes an object out of care whatever its state; nil when it was in none.
    package func cancel(
        _ key: ObjectKey, version: String?, at now: Timestamp
    ) throws(MetadataError) -> (row: RestoreRow, changes: RestoreChanges)? {
        try durably { connection, statements throws(DatabaseError) in
            guard let row = try Self.find(key, version, statements) else { return nil }
            try Self.cancel(row, statements)
            var changes = RestoreChanges()
            changes.finished = try Self.finish(at: now, connection, statements)
            return (row, changes)
        }
    }

    /// Takes out of care what is below the prefix and has not been asked for; requests look no further there. Answers
    /// how much that was.
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
            let open = "request IN (SELECT id FROM request WHERE stage = 1)"
            let scopes = try select("request, kind, key, version", "scope WHERE \(open)").all {
                (request: $0.int64(0), kind: $0.int64(1), key: $0.blob(2), version: $0.text(3))
            }
            for scope in scopes {
                try statements.dropScope.bind(scope.request, at: 1)
                try statements.dropScope.bind(scope.kind, at: 2)
                try statements.dropScope.bind(scope.key, at: 3)
                try statements.dropScope.bind(scope.version, at: 4)
                try statements.dropScope.run()
                try Self.endCollecting(scope.request, statements)
            }
            let queued = "restore WHERE state = 0 AND slow_tier IS NULL"
            let rows = try select(restoreColumns, queued).all { $0.restoreRow() }
            var tally = Tally()
            for row in rows {
                try Self.cancel(row, statements)
                tally.add(row.sizeBytes)
            }
            var changes = RestoreChanges()
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

    /// Makes everything that the provider is at work on due: nobody has looked since the last mount ended.
    package func hastenAll() throws(MetadataError) {
        try restoring { connection, _ throws(DatabaseError) in
            try connection.execute("UPDATE restore SET due_at = 0 WHERE state = 2")
        }
    }

    /// Takes back a charge that came to nothing.
    package func refund(_ charge: Charge) throws(MetadataError) {
        try restoring { _, statements throws(DatabaseError) in
            try statements.refund.bind(charge.account, at: 1)
            try statements.refund.bind(Int64(clamping: charge.bytes), at: 2)
            try statements.refund.run()
        }
    }

    /// Drops requests that were never committed, and what is kept only for people to look at: finished requests but
    /// the last ones, failures that nobody came back to, charges of long ago.
    package func forgetOldRestores(at now: Timestamp) throws(MetadataError) {
        let (weekAgo, monthAgo) = ((now - .seconds(7 * 86400)).nanoseconds, now.minute - 32 * 24 * 60)
        try restoring { connection, _ throws(DatabaseError) in
            try connection.execute(
                """
                DELETE FROM scope WHERE request IN (SELECT id FROM request WHERE stage = 0);
                DELETE FROM request WHERE stage = 0;
                DELETE FROM request WHERE stage = 3 AND (finished_at < \(weekAgo)
                    OR id NOT IN (SELECT id FROM request WHERE stage = 3 ORDER BY id DESC LIMIT 1000));
                DELETE FROM restore WHERE state >= 3 AND (state = 3 OR due_at < \(weekAgo))
                    AND id NOT IN (SELECT restore FROM wish);
                DELETE FROM spending WHERE minute < \(monthAgo)
                """)
        }
    }

    // MARK: Steps

    private static func open(
        _ request: RequestRow, _ connection: Connection, _ statements: RestoreStatements
    ) throws(DatabaseError) -> Int64 {
        try statements.openRequest.bind(request.origin.rawValue, at: 1)
        try statements.openRequest.bind(request.requester, at: 2)
        try statements.openRequest.bind(request.target, at: 3)
        try statements.openRequest.bind(request.days.map(Int64.init), at: 4)
        try statements.openRequest.bind(request.tier?.rawValue, at: 5)
        try statements.openRequest.bind(request.createdAt.nanoseconds, at: 6)
        try statements.openRequest.bind(request.stage.rawValue, at: 7)
        try statements.openRequest.run()
        return connection.lastInsertRowID
    }

    private static func take(
        _ item: RestoreRow, into request: Int64, _ connection: Connection, _ statements: RestoreStatements,
        _ merge: RestoreMerge
    ) throws(DatabaseError) -> RestoreRow {
        let known = try find(item.key, item.version, statements)
        var row = merge(known, item) ?? known ?? item
        if let known {
            if row != known { try store(row, before: known, statements) }
        } else {
            try statements.insert.bindRestore(row)
            try statements.insert.run()
            row.id = connection.lastInsertRowID
        }
        try statements.wish.bind(request, at: 1)
        try statements.wish.bind(row.id, at: 2)
        try statements.wish.run()
        return row
    }

    private static func find(
        _ key: ObjectKey, _ version: String?, _ statements: RestoreStatements
    ) throws(DatabaseError) -> RestoreRow? {
        try statements.find.bind(key.bytes, at: 1)
        try statements.find.bind(version ?? "", at: 2)
        return try statements.find.first { $0.restoreRow() }
    }

    private static func store(
        _ row: RestoreRow, before: RestoreRow, _ statements: RestoreStatements
    ) throws(DatabaseError) {
        try statements.update.bind(row.id, at: 1)
        try statements.update.bindRestore(row)
        try statements.update.run()
        guard let error = row.error, error != before.error else { return }
        try statements.noteError.bind(row.id, at: 1)
        try statements.noteError.bind(error, at: 2)
        try statements.noteError.run()
    }

    private static func bear(
        _ charge: Charge?, at now: Timestamp, _ statements: RestoreStatements
    ) throws(DatabaseError) {
        guard let charge, charge.bytes > 0 else { return }
        try statements.charge.bind(charge.account, at: 1)
        try statements.charge.bind(now.minute, at: 2)
        try statements.charge.bind(Int64(clamping: charge.bytes), at: 3)
        try statements.charge.run()
    }

    private static func set(
        _ stage: RequestRow.Stage, _ request: Int64, _ statements: RestoreStatements
    ) throws(DatabaseError) {
        try statements.setStage.bind(request, at: 1)
        try statements.setStage.bind(stage.rawValue, at: 2)
        try statements.setStage.run()
    }

    private static func endCollecting(_ request: Int64, _ statements: RestoreStatements) throws(DatabaseError) {
        try statements.endCollecting.bind(request, at: 1)
        try statements.endCollecting.run()
    }

    /// Whether the request is still looking through these scopes, or any of them.
    private static func isWanted(
        _ progress: Progress, _ request: Int64, _ connection: Connection, _ statements: RestoreStatements
    ) throws(DatabaseError) -> Bool {
        let isCollecting = try !connection.rows(
            "SELECT 1 FROM request WHERE id = \(request) AND stage = 1") { _ in true }.isEmpty
        guard isCollecting else { return false }
        switch progress {
        case .reached(let scope, _): return try isThere(scope, of: request, statements)
        case .through(let scopes):
            guard let first = scopes.first, first.kind != .object else { return true }
            return try isThere(first, of: request, statements)
        }
    }

    private static func isThere(
        _ scope: ScopeRow, of request: Int64, _ statements: RestoreStatements
    ) throws(DatabaseError) -> Bool {
        try bind(scope, of: request, to: statements.hasScope)
        return try statements.hasScope.first { _ in true } ?? false
    }

    private static func bind(
        _ scope: ScopeRow, of request: Int64, to statement: Statement
    ) throws(DatabaseError) {
        try statement.bind(request, at: 1)
        try statement.bind(scope.kind.rawValue, at: 2)
        try statement.bind(scope.key.bytes, at: 3)
        try statement.bind(scope.version ?? "", at: 4)
    }

    /// Ends the requests whose objects are all settled, and counts them for good.
    private static func finish(
        at now: Timestamp, _ connection: Connection, _ statements: RestoreStatements
    ) throws(DatabaseError) -> [RequestCount] {
        let ids = try statements.finishable.all { $0.int64(0) }
        var finished: [RequestCount] = []
        for id in ids {
            try statements.tallies.bind(id, at: 1)
            let tallies = try statements.tallies.all { ($0.int64(0), $0.tally(1)) }
            func tally(_ state: RestoreRow.State) -> Tally {
                tallies.first { $0.0 == state.rawValue }?.1 ?? Tally()
            }
            try statements.finish.bind(id, at: 1)
            try statements.finish.bind(now.nanoseconds, at: 2)
            for (index, tally) in [tally(.restored), tally(.failed)].enumerated() {
                try statements.finish.bind(tally.objects, at: 3 + index * 2)
                try statements.finish.bind(Int64(clamping: tally.bytes), at: 4 + index * 2)
            }
            try statements.finish.run()
            for statement in [statements.dropFinished, statements.dropWishes] {
                try statement.bind(id, at: 1)
                try statement.run()
            }
            if let count = try RequestCount.read(id, connection) { finished.append(count) }
        }
        return finished
    }

    // MARK: Transactions

    private func restoring<Result>(
        _ body: (Connection, RestoreStatements) throws(DatabaseError) -> Result
    ) throws(MetadataError) -> Result {
        try guarded { connection, statements throws(DatabaseError) in
            try connection.transaction { () throws(DatabaseError) in try body(connection, statements.restores) }
        }
    }

    /// The same, and it survives a power loss.
    private func durably<Result>(
        _ body: (Connection, RestoreStatements) throws(DatabaseError) -> Result
    ) throws(MetadataError) -> Result {
        try guarded { connection, statements throws(DatabaseError) in
            try connection.setSynchronous(.full)
            do throws(DatabaseError) {
                let result = try connection.transaction { () throws(DatabaseError) in
                    try body(connection, statements.restores)
                }
                try connection.setSynchronous(.normal)
                return result
            } catch {
                try? connection.setSynchronous(.normal)
                throw error
            }
        }
    }
}

extension Timestamp {
    /// Minutes since the epoch.
    package var minute: Int64 { seconds / 60 }
}

extension Connection {
    /// All rows of a query that is not asked often.
    func rows<Row>(_ sql: String, _ read: (Statement) -> Row) throws(DatabaseError) -> [Row] {
        try prepare(sql).all(read)
    }
}

extension Statement {
    func all<Row>(_ read: (Statement) -> Row) throws(DatabaseError) -> [Row] {
        var rows: [Row] = []
        while try step() { rows.append(read(self)) }
        return rows
    }

    /// The first row; the others are dropped.
    func first<Row>(_ read: (Statement) -> Row) throws(DatabaseError) -> Row? {
        defer { reset() }
        return try step() ? read(self) : nil
    }
}
