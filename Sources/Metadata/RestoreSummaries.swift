internal import Database
package import ThawCore
internal import Wire

/// What people and programs want to know of restores; asked on the reader, while the writer works.
extension MetadataReader {
    /// The object, if it is under care.
    package func restore(of key: ObjectKey, version: String?) throws(MetadataError) -> RestoreRow? {
        try guarded { statements throws(DatabaseError) in
            try statements.restore.bind(key.bytes, at: 1)
            try statements.restore.bind(version ?? "", at: 2)
            return try statements.restore.first { $0.restoreRow() }
        }
    }

    /// Current versions under care whose keys are in this range, and how they stand, in key order.
    package func restores(
        after first: ObjectKey, through last: ObjectKey
    ) throws(MetadataError) -> [(key: ObjectKey, state: RestoreRow.State)] {
        try guarded { statements throws(DatabaseError) in
            let query = try statements.connection.prepare(
                "SELECT key, state FROM restore WHERE key > ?1 AND key <= ?2 AND version = '' ORDER BY key")
            try query.bind(first.bytes, at: 1)
            try query.bind(last.bytes, at: 2)
            return try query.all { (ObjectKey($0.blob(0)), RestoreRow.State(rawValue: $0.int64(1)) ?? .failed) }
        }
    }

    /// Unfinished requests and the latest finished ones, the newest first.
    package func requests(finishedMax: Int) throws(MetadataError) -> [RequestCount] {
        try guarded { statements throws(DatabaseError) in
            let ids = try statements.connection.rows(
                """
                SELECT id FROM request WHERE stage < 3 AND stage > 0
                UNION ALL
                SELECT id FROM (SELECT id FROM request WHERE stage = 3 ORDER BY id DESC LIMIT \(finishedMax))
                ORDER BY id DESC
                """) { $0.int64(0) }
            var counts: [RequestCount] = []
            for id in ids {
                if let count = try RequestCount.read(id, statements.connection) { counts.append(count) }
            }
            return counts
        }
    }

    package func unfinishedRequests() throws(MetadataError) -> Int {
        try guarded { statements throws(DatabaseError) in
            try statements.connection.rows("SELECT count(*) FROM request WHERE stage < 3 AND stage > 0") {
                Int($0.int64(0))
            }.first ?? 0
        }
    }

    package func request(_ id: Int64) throws(MetadataError) -> RequestCount? {
        try guarded { statements throws(DatabaseError) in try RequestCount.read(id, statements.connection) }
    }
}

extension RequestCount {
    static func read(_ id: Int64, _ connection: Connection) throws(DatabaseError) -> RequestCount? {
        let head = try connection.rows(
            """
            SELECT \(requestColumns), restored, restored_bytes, failed, failed_bytes, cancelled, cancelled_bytes
            FROM request WHERE id = \(id)
            """) { ($0.requestRow(), $0.tally(11), $0.tally(13), $0.tally(15)) }
        guard let (request, restored, failed, cancelled) = head.first else { return nil }
        var count = RequestCount(request: request, states: [:], cancelled: cancelled, pending: [])
        guard request.stage != .finished else {
            count.states = [.restored: restored, .failed: failed]
            return count
        }
        let wished = "FROM wish w JOIN restore r ON r.id = w.restore WHERE w.request = \(id)"
        for (state, tally) in try connection.rows(
            "SELECT r.state, count(*), \(bytesOfRestores) \(wished) GROUP BY r.state", { ($0.int64(0), $0.tally(1)) })
        {
            if let state = RestoreRow.State(rawValue: state) { count.states[state] = tally }
        }
        count.pending = try connection.rows(
            """
            SELECT r.class, r.tier, max(r.asked_at), min(r.asked_at) \(wished) AND r.state < 3 GROUP BY r.class, r.tier
            """) {
            PendingKind(
                storageClass: StorageClass($0.text(0)), tier: $0.tier(1),
                lastAskedAt: $0.int64(3) == 0 ? nil : Timestamp(nanoseconds: $0.int64(2)))
        }
        return count
    }
}
