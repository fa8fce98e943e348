internal import Database
internal import ObjectStore
internal import ThawCore
internal import Wire

/// Column order of every query that reads restores.
let restoreColumns = """
    id, key, version, state, class, lane, tier, days, more_days, slow_tier, size, etag, rank, asked_at, due_at, \
    strikes, error, copy_until, charged
    """

extension Statement {
    /// Reads the current row of a query over `restoreColumns`.
    func restoreRow() -> RestoreRow {
        var row = RestoreRow(
            key: ObjectKey(blob(1)), version: optionalText(2), state: RestoreRow.State(rawValue: int64(3)) ?? .failed,
            storageClass: StorageClass(text(4)), lane: text(5),
            order: RestoreOrder(days: optionalInt(7), tier: tier(6)), sizeBytes: uint64(10), etag: text(11),
            isOneOfMany: int64(12) != 0)
        row.id = int64(0)
        row.moreDays = optionalInt(8)
        row.slowTier = tier(9)
        row.askedAt = int64(13) == 0 ? nil : Timestamp(nanoseconds: int64(13))
        row.dueAt = Timestamp(nanoseconds: int64(14))
        row.strikes = Int(int64(15))
        row.error = optionalText(16)
        row.chargedBytes = uint64(18)
        row.copyUntil = isNull(17) ? nil : Timestamp(nanoseconds: int64(17))
        return row
    }

    /// Binds everything but the id, to `?2…?19`.
    func bindRestore(_ row: RestoreRow) throws(DatabaseError) {
        try bind(row.key.bytes, at: 2)
        try bind(row.version ?? "", at: 3)
        try bind(row.state.rawValue, at: 4)
        try bind(row.storageClass.name, at: 5)
        try bind(row.lane, at: 6)
        try bind(row.order.tier?.rawValue, at: 7)
        try bind(row.order.days.map(Int64.init), at: 8)
        try bind(row.moreDays.map(Int64.init), at: 9)
        try bind(row.slowTier?.rawValue, at: 10)
        try bind(Int64(clamping: row.sizeBytes), at: 11)
        try bind(row.etag, at: 12)
        try bind(Int64(row.isOneOfMany ? 1 : 0), at: 13)
        try bind(row.askedAt?.nanoseconds ?? 0, at: 14)
        try bind(row.dueAt.nanoseconds, at: 15)
        try bind(row.strikes, at: 16)
        try bind(row.error, at: 17)
        try bind(row.copyUntil?.nanoseconds, at: 18)
        try bind(Int64(clamping: row.chargedBytes), at: 19)
    }

    /// Reads `requestColumns`.
    func requestRow() -> RequestRow {
        var row = RequestRow(
            origin: RestoreOrigin(rawValue: int64(1)) ?? .command, requester: text(2), target: text(3),
            days: optionalInt(4), tier: tier(5), createdAt: Timestamp(nanoseconds: int64(6)),
            stage: RequestRow.Stage(rawValue: int64(8)) ?? .finished)
        row.id = int64(0)
        row.finishedAt = isNull(7) ? nil : Timestamp(nanoseconds: int64(7))
        row.error = optionalText(9)
        row.isIncomplete = int64(10) != 0
        return row
    }

    func scopeRow() -> ScopeRow {
        ScopeRow(
            kind: ScopeRow.Kind(rawValue: int64(0)) ?? .object, key: ObjectKey(blob(1)), version: optionalText(2),
            cursor: isNull(3) ? nil : ObjectKey(blob(3)))
    }

    func tally(_ column: Int) -> Tally { Tally(objects: Int(int64(column)), bytes: uint64(column + 1)) }

    func tier(_ column: Int) -> RestoreTier? { optionalText(column).flatMap { RestoreTier(rawValue: $0) } }

    /// Nil for NULL and for nothing.
    func optionalText(_ column: Int) -> String? {
        let text = text(column)
        return text.isEmpty ? nil : text
    }

    private func optionalInt(_ column: Int) -> Int? { isNull(column) ? nil : Int(int64(column)) }
}

/// `sum` fails beyond 2^63.
let bytesOfRestores = "CAST(total(r.size) AS INTEGER)"

let requestColumns = "id, origin, requester, target, days, tier, created_at, finished_at, stage, error, incomplete"

/// The statements that keep restores, compiled once.
struct RestoreStatements {
    let find: Statement
    let byID: Statement
    let insert: Statement
    let update: Statement
    let drop: Statement
    let wish: Statement
    let openRequest: Statement
    let setStage: Statement
    let addScope: Statement
    let moveCursor: Statement
    let dropScope: Statement
    let hasScope: Statement
    let endCollecting: Statement
    let queued: Statement
    let markAsking: Statement
    let dueByTime: Statement
    let due: Statement
    let underWay: Statement
    let raised: Statement
    let nextQueued: Statement
    let noteError: Statement
    let finishable: Statement
    let tallies: Statement
    let finish: Statement
    let dropFinished: Statement
    let dropWishes: Statement
    let charge: Statement
    let latestCharge: Statement
    let refund: Statement
    let noteCancelled: Statement
    let dropWishesOf: Statement

    init(_ connection: Connection) throws(DatabaseError) {
        let select = "SELECT \(restoreColumns) FROM restore"
        find = try connection.prepare("\(select) WHERE key = ?1 AND version = ?2")
        byID = try connection.prepare("\(select) WHERE id = ?1")
        let values = (2...19).map { "?\($0)" }.joined(separator: ", ")
        let columns = restoreColumns.dropFirst("id, ".count)
        insert = try connection.prepare("INSERT INTO restore(\(columns)) VALUES(\(values))")
        update = try connection.prepare("UPDATE restore SET (\(columns)) = (\(values)) WHERE id = ?1")
        drop = try connection.prepare("DELETE FROM restore WHERE id = ?1")
        wish = try connection.prepare("INSERT OR IGNORE INTO wish(request, restore) VALUES(?1, ?2)")
        openRequest = try connection.prepare(
            """
            INSERT INTO request(origin, requester, target, days, tier, created_at, stage)
            VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)
            """)
        setStage = try connection.prepare("UPDATE request SET stage = ?2 WHERE id = ?1")
        addScope = try connection.prepare(
            "INSERT OR IGNORE INTO scope(request, kind, key, version) VALUES(?1, ?2, ?3, ?4)")
        let isScope = "request = ?1 AND kind = ?2 AND key = ?3 AND version = ?4"
        moveCursor = try connection.prepare("UPDATE scope SET cursor = ?5 WHERE \(isScope)")
        dropScope = try connection.prepare("DELETE FROM scope WHERE \(isScope)")
        hasScope = try connection.prepare("SELECT 1 FROM scope WHERE \(isScope)")
        endCollecting = try connection.prepare(
            """
            UPDATE request SET stage = 2
            WHERE id = ?1 AND stage = 1 AND NOT EXISTS (SELECT 1 FROM scope WHERE request = ?1 AND kind < 3)
            """)
        queued = try connection.prepare(
            """
            \(select) INDEXED BY restore_queue WHERE state = 0 AND lane = ?1 AND due_at <= ?2 ORDER BY rank, id LIMIT ?3
            """)
        nextQueued = try connection.prepare("SELECT min(due_at) FROM restore WHERE state = 0 AND lane = ?1")
        markAsking = try connection.prepare("UPDATE restore SET state = 1 WHERE id = ?1")
        dueByTime = try connection.prepare(
            "\(select) INDEXED BY restore_due WHERE state IN (2, 3) AND due_at <= ?1 LIMIT ?2")
        // For very many: walks the keys. By the index of times it would sort all that is due for each page; hence the
        // pluses.
        due = try connection.prepare(
            """
            \(select) WHERE +state IN (2, 3) AND +due_at <= ?1 AND (key, version) > (?2, ?3) ORDER BY key, version
            LIMIT ?4
            """)
        underWay = try connection.prepare(
            "\(select) WHERE key >= ?1 AND version = '' AND state = 2 ORDER BY key LIMIT ?2")
        raised = try connection.prepare(
            """
            \(select) INDEXED BY restore_raised WHERE state = 0 AND slow_tier IS NOT NULL AND (key, version) > (?1, ?2)
            ORDER BY key, version LIMIT ?3
            """)
        noteError = try connection.prepare(
            "UPDATE request SET error = ?2 WHERE id IN (SELECT request FROM wish WHERE restore = ?1)")
        finishable = try connection.prepare("SELECT id FROM request WHERE stage = 2 AND pending = 0")
        tallies = try connection.prepare(
            """
            SELECT r.state, count(*), \(bytesOfRestores) FROM wish w JOIN restore r ON r.id = w.restore
            WHERE w.request = ?1 GROUP BY r.state
            """)
        finish = try connection.prepare(
            """
            UPDATE request SET stage = 3, finished_at = ?2, restored = ?3, restored_bytes = ?4, failed = ?5,
                failed_bytes = ?6 WHERE id = ?1
            """)
        dropFinished = try connection.prepare(
            """
            DELETE FROM restore WHERE state = 3 AND id IN (SELECT restore FROM wish WHERE request = ?1)
                AND NOT EXISTS (SELECT 1 FROM wish w WHERE w.restore = restore.id AND w.request <> ?1)
            """)
        dropWishes = try connection.prepare("DELETE FROM wish WHERE request = ?1")
        charge = try connection.prepare(
            """
            INSERT INTO spending(account, minute, bytes) VALUES(?1, ?2, ?3)
            ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes
            """)
        latestCharge = try connection.prepare(
            "SELECT minute, bytes FROM spending WHERE account = ?1 AND bytes > 0 ORDER BY minute DESC LIMIT 1")
        refund = try connection.prepare("UPDATE spending SET bytes = ?3 WHERE account = ?1 AND minute = ?2")
        noteCancelled = try connection.prepare(
            """
            UPDATE request SET cancelled = cancelled + 1, cancelled_bytes = cancelled_bytes + ?2
            WHERE id IN (SELECT request FROM wish WHERE restore = ?1)
            """)
        dropWishesOf = try connection.prepare("DELETE FROM wish WHERE restore = ?1")
    }
}
