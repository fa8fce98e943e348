internal import Database
package import ThawCore

/// Objects on their way through the queue.
extension MetadataWriter {
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
                guard row.retrievedBytes <= bytesLeft else { return false }
                bytesLeft -= row.retrievedBytes
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
                if changed.state == .failed, row.state.isPending { try Self.refund(changed, statements, &changes) }
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
            // Few are due as a rule: found by their time, and sorted here.
            try statements.dueByTime.bind(time.nanoseconds, at: 1)
            try statements.dueByTime.bind(limit, at: 2)
            let some = try statements.dueByTime.all { $0.restoreRow() }
            if some.count < limit {
                let after = (position.key, position.version ?? "")
                return some.filter { ($0.key, $0.version ?? "") > after }.sorted {
                    ($0.key, $0.version ?? "") < ($1.key, $1.version ?? "")
                }
            }
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

    /// Rows for which a faster tier waits to be asked for, while the provider is at work on them, in key order.
    package func raised(
        after position: (key: ObjectKey, version: String?), limit: Int
    ) throws(MetadataError) -> [RestoreRow] {
        try restoring { _, statements throws(DatabaseError) in
            try statements.raised.bind(position.key.bytes, at: 1)
            try statements.raised.bind(position.version ?? "", at: 2)
            try statements.raised.bind(limit, at: 3)
            return try statements.raised.all { $0.restoreRow() }
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

    /// Makes everything that the provider is at work on due: nobody has looked since the last mount ended.
    package func hastenAll() throws(MetadataError) {
        try restoring { connection, _ throws(DatabaseError) in
            try connection.execute("UPDATE restore SET due_at = 0 WHERE state = 2")
        }
    }
}
