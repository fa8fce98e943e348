internal import Database
package import ThawCore

/// What our own operations on directories change in the cache.
extension MetadataWriter {
    /// The directory is gone from here, with all below it: moved, or removed. Its name is known to be absent, nothing
    /// is known of what is below, and what was asked of it before this moment says nothing any more.
    package func forgetTree(below prefix: ObjectKey, at now: Timestamp) throws(MetadataError) {
        try committing(.normal) { connection, statements throws(DatabaseError) in
            try Self.empty(below: prefix, at: now, connection, statements)
            guard let place = prefix.placeOfDirectory else { return }
            let row = MetadataRow(segment: place.segment, kind: .absent, checkedAt: now)
            try Self.record([row], below: place.directory, listing: 0, statements)
        }
    }

    /// Everything below the directory was copied to another place, and is gone from here. Whoever looks asks the store;
    /// what is known of attributes goes along, as far as the copies have the ETags of what they are copies of.
    package func moveTree(from source: ObjectKey, to target: ObjectKey, at now: Timestamp) throws(MetadataError) {
        try committing(.normal) { connection, statements throws(DatabaseError) in
            try Self.empty(below: target, at: now, connection, statements)
            let end = source.successorOfPrefix
            let isBelow = end == nil ? "prefix >= ?1" : "prefix >= ?1 AND prefix < ?4"
            let moved = "(SELECT id FROM directory WHERE prefix = CAST(?2 || substr(d.prefix, ?3 + 1) AS BLOB))"
            for sql in [
                "INSERT OR IGNORE INTO directory(prefix) SELECT CAST(?2 || substr(prefix, ?3 + 1) AS BLOB) FROM directory WHERE \(isBelow)",
                """
                UPDATE entry SET directory = (SELECT \(moved) FROM directory d WHERE d.id = entry.directory),
                    listing = 0, checked_at = 0, modified = ?5
                WHERE kind <> 0 AND directory IN (SELECT id FROM directory WHERE \(isBelow))
                """,
            ] {
                let statement = try connection.prepare(sql)
                try statement.bind(source.bytes, at: 1)
                try statement.bind(target.bytes, at: 2)
                try statement.bind(source.bytes.count, at: 3)
                if let end { try statement.bind(end.bytes, at: 4) }
                // Copies are as new as the store's clock says.
                if sql.hasPrefix("UPDATE") { try statement.bind((now + .seconds(60)).nanoseconds, at: 5) }
                try statement.run()
            }
            try Self.empty(below: source, at: now, connection, statements)
            guard let place = source.placeOfDirectory else { return }
            let row = MetadataRow(segment: place.segment, kind: .absent, checkedAt: now)
            try Self.record([row], below: place.directory, listing: 0, statements)
        }
    }

    /// The directory was made just now: until its TTL is over, a name below it is known not to exist without asking.
    package func beginEmpty(directory prefix: ObjectKey, at now: Timestamp) throws(MetadataError) {
        try committing(.normal) { connection, statements throws(DatabaseError) in
            try Self.empty(below: prefix, at: now, connection, statements)
            let listing = try Self.beginListing(prefix, at: now, statements)
            try statements.finishListing.bind(prefix.bytes, at: 1)
            try statements.finishListing.bind(listing, at: 2)
            try statements.finishListing.run()
        }
    }

    /// Nothing is known of the tree, nor of whether it is there: the next look at its parent asks the store.
    package func expireTree(_ prefix: ObjectKey, at now: Timestamp) throws(MetadataError) {
        try forgetTree(below: prefix, at: now)
        if let place = prefix.placeOfDirectory { try expire(directory: place.directory, at: now) }
    }

    /// Directories keep their rows: a listing or a lookup that is still under way must find out that it is too late.
    private static func empty(
        below prefix: ObjectKey, at now: Timestamp, _ connection: Connection, _ statements: WriteStatements
    ) throws(DatabaseError) {
        _ = try directory(prefix, statements)
        let end = prefix.successorOfPrefix
        // Without an OR, so that the index gives the range.
        let isBelow = end == nil ? "prefix >= ?1" : "prefix >= ?1 AND prefix < ?3"
        for sql in [
            "DELETE FROM entry WHERE directory IN (SELECT id FROM directory WHERE \(isBelow))",
            "UPDATE directory SET listed_at = 0, listing = listing + 1, emptied_at = ?2 WHERE \(isBelow)",
        ] {
            let statement = try connection.prepare(sql)
            try statement.bind(prefix.bytes, at: 1)
            if sql.hasPrefix("UPDATE") { try statement.bind(now.nanoseconds, at: 2) }
            if let end { try statement.bind(end.bytes, at: 3) }
            try statement.run()
        }
    }
}

extension MetadataReader {
    /// How many names are known to be there below the directory itself, counted no further than `limit`: those that
    /// were seen since then.
    package func countPresent(
        below prefix: ObjectKey, since time: Timestamp, limit: Int
    ) throws(MetadataError) -> Int {
        try guarded { statements throws(DatabaseError) in
            let query = try statements.connection.prepare(
                """
                SELECT count(*) FROM (SELECT 1 FROM entry
                    WHERE directory = (SELECT id FROM directory WHERE prefix = ?1) AND kind <> 0 AND checked_at >= ?2
                    LIMIT ?3)
                """)
            try query.bind(prefix.bytes, at: 1)
            try query.bind(time.nanoseconds, at: 2)
            try query.bind(limit, at: 3)
            return try query.first { Int($0.int64(0)) } ?? 0
        }
    }
}

extension ObjectKey {
    /// Of a directory's prefix: where its name stands. Nil for the bucket's root.
    var placeOfDirectory: (directory: ObjectKey, segment: [UInt8])? {
        guard !isEmpty else { return nil }
        let start = bytes.dropLast().lastIndex(of: UInt8(ascii: "/")).map { $0 + 1 } ?? 0
        return (ObjectKey(bytes[..<start]), Array(bytes[start...]))
    }
}
