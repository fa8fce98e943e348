internal import Database
internal import ThawCore
internal import Wire

/// What the transactions over the queue are made of.
extension MetadataWriter {
    static func open(
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

    static func take(
        _ item: RestoreRow, into request: Int64, at now: Timestamp, _ connection: Connection,
        _ statements: RestoreStatements, _ merge: RestoreMerge, _ changes: inout RestoreChanges
    ) throws(DatabaseError) {
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
        changes.rows.append(row)
        if row.state == .failed, let error = row.error { try note(error, of: row, statements) }
        // What is under way already was charged to whoever began it.
        guard !(known?.state.isPending ?? false), item.chargedBytes > 0 else { return }
        try bear(Charge(account: readsAccount, bytes: item.chargedBytes), at: now, statements)
        changes.chargedBytes += item.chargedBytes
    }

    static func note(_ error: String, of row: RestoreRow, _ statements: RestoreStatements) throws(DatabaseError) {
        try statements.noteError.bind(row.id, at: 1)
        try statements.noteError.bind(error, at: 2)
        try statements.noteError.run()
    }

    /// Gives back what the reads' budget bears for an object that the provider never took.
    static func refund(
        _ row: RestoreRow, _ statements: RestoreStatements, _ changes: inout RestoreChanges
    ) throws(DatabaseError) {
        guard row.chargedBytes > 0, row.askedAt == nil else { return }
        try refund(Charge(account: readsAccount, bytes: row.chargedBytes), statements)
        changes.refundedBytes += row.chargedBytes
    }

    static func refund(_ charge: Charge, _ statements: RestoreStatements) throws(DatabaseError) {
        var rest = charge.bytes
        while rest > 0 {
            try statements.latestCharge.bind(charge.account, at: 1)
            guard let latest = try statements.latestCharge.first({ (minute: $0.int64(0), bytes: $0.uint64(1)) }) else {
                return
            }
            let taken = min(latest.bytes, rest)
            try statements.refund.bind(charge.account, at: 1)
            try statements.refund.bind(latest.minute, at: 2)
            try statements.refund.bind(Int64(clamping: latest.bytes - taken), at: 3)
            try statements.refund.run()
            rest -= taken
        }
    }

    static func find(
        _ key: ObjectKey, _ version: String?, _ statements: RestoreStatements
    ) throws(DatabaseError) -> RestoreRow? {
        try statements.find.bind(key.bytes, at: 1)
        try statements.find.bind(version ?? "", at: 2)
        return try statements.find.first { $0.restoreRow() }
    }

    static func store(
        _ row: RestoreRow, before: RestoreRow, _ statements: RestoreStatements
    ) throws(DatabaseError) {
        try statements.update.bind(row.id, at: 1)
        try statements.update.bindRestore(row)
        try statements.update.run()
        if let error = row.error, error != before.error { try note(error, of: row, statements) }
    }

    static func bear(
        _ charge: Charge?, at now: Timestamp, _ statements: RestoreStatements
    ) throws(DatabaseError) {
        guard let charge, charge.bytes > 0 else { return }
        try statements.charge.bind(charge.account, at: 1)
        try statements.charge.bind(now.minute, at: 2)
        try statements.charge.bind(Int64(clamping: charge.bytes), at: 3)
        try statements.charge.run()
    }

    static func set(
        _ stage: RequestRow.Stage, _ request: Int64, _ statements: RestoreStatements
    ) throws(DatabaseError) {
        try statements.setStage.bind(request, at: 1)
        try statements.setStage.bind(stage.rawValue, at: 2)
        try statements.setStage.run()
    }

    static func endCollecting(_ request: Int64, _ statements: RestoreStatements) throws(DatabaseError) {
        try statements.endCollecting.bind(request, at: 1)
        try statements.endCollecting.run()
    }

    /// The scopes of all requests that are being looked through.
    static func collecting(
        _ connection: Connection
    ) throws(DatabaseError) -> [(request: Int64, scope: ScopeRow)] {
        try connection.rows(
            """
            SELECT kind, key, version, cursor, request FROM scope
            WHERE kind < 3 AND request IN (SELECT id FROM request WHERE stage < 3 AND stage = 1)
            """) { ($0.int64(4), $0.scopeRow()) }
    }

    /// Prefixes that were cancelled while the request looked through more than them.
    static func exceptions(of request: Int64, _ connection: Connection) throws(DatabaseError) -> [ObjectKey] {
        try connection.rows("SELECT key FROM scope WHERE request = \(request) AND kind = 3") { ObjectKey($0.blob(0)) }
    }

    /// Whether the request is still looking through these scopes, or any of them.
    static func isWanted(
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

    static func isThere(
        _ scope: ScopeRow, of request: Int64, _ statements: RestoreStatements
    ) throws(DatabaseError) -> Bool {
        try bind(scope, of: request, to: statements.hasScope)
        return try statements.hasScope.first { _ in true } ?? false
    }

    static func bind(
        _ scope: ScopeRow, of request: Int64, to statement: Statement
    ) throws(DatabaseError) {
        try statement.bind(request, at: 1)
        try statement.bind(scope.kind.rawValue, at: 2)
        try statement.bind(scope.key.bytes, at: 3)
        try statement.bind(scope.version ?? "", at: 4)
    }

    /// Ends the requests whose objects are all settled, and counts them for good.
    static func finish(
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

    func restoring<Result>(
        _ body: (Connection, RestoreStatements) throws(DatabaseError) -> Result
    ) throws(MetadataError) -> Result {
        try committing(.normal) { connection, statements throws(DatabaseError) in
            try body(connection, statements.restores)
        }
    }

    /// The same, and it survives a power loss.
    func durably<Result>(
        _ body: (Connection, RestoreStatements) throws(DatabaseError) -> Result
    ) throws(MetadataError) -> Result {
        try committing(.full) { connection, statements throws(DatabaseError) in
            try body(connection, statements.restores)
        }
    }
}

extension Timestamp {
    /// Minutes since the epoch.
    package var minute: Int64 { seconds / 60 }
}
