internal import Database

/// The metadata store's tables. It is a cache of the bucket, rebuildable by asking again, with one exception: the
/// `restore` table, which is a promise, and whose commits reach the disk before anybody acts on them.
enum Schema {
    static let version: Int32 = 1

    /// directory: a key prefix that somebody looked into.
    ///   prefix      ends in `/`, or empty for the bucket's root
    ///   listing     number of the newest listing begun; counts up over the whole store, 0 = never
    ///   started_at  when that listing began, ns since the epoch
    ///   listed_at   `started_at` of the newest listing that came to its end, 0 = never: from then on, and for the
    ///               TTL, a segment without a row is known not to exist
    ///
    /// entry: one name below a directory, present or known to be absent.
    ///   segment     the key after the prefix: `name` for an object, `name/` for a directory, so that both can
    ///               exist and rows sort exactly as a listing does
    ///   listing     the listing that saw it last, 0 = a lookup did
    ///   checked_at  when the store was last asked, ns since the epoch
    ///   kind        0 absent, 1 object, 2 directory
    ///   restore     0 no restore header, 1 ongoing, 2 restored; expiry (ns) with 2, 0 = none was given
    ///   archive     S3 Intelligent-Tiering's archive status; '' = a HEAD said there is none, NULL = unknown
    ///
    /// restore: a restore that we asked for, or are about to.
    ///   state       0 about to ask (asked again after a crash: the call is idempotent), 1 the provider is at work
    ///   tier, days  as asked; NULL where the class has none
    ///   more_days   wished for since, to be asked for when the copy is there; NULL = nobody did
    static let statements = """
        CREATE TABLE directory(
            id INTEGER PRIMARY KEY,
            prefix BLOB NOT NULL UNIQUE,
            listing INTEGER NOT NULL DEFAULT 0,
            started_at INTEGER NOT NULL DEFAULT 0,
            listed_at INTEGER NOT NULL DEFAULT 0
        );
        CREATE TABLE entry(
            directory INTEGER NOT NULL,
            segment BLOB NOT NULL,
            listing INTEGER NOT NULL,
            checked_at INTEGER NOT NULL,
            kind INTEGER NOT NULL,
            size INTEGER,
            modified INTEGER,
            etag TEXT,
            class TEXT,
            restore INTEGER NOT NULL DEFAULT 0,
            expiry INTEGER NOT NULL DEFAULT 0,
            archive TEXT,
            version TEXT,
            PRIMARY KEY(directory, segment)
        ) WITHOUT ROWID;
        CREATE TABLE restore(
            key BLOB NOT NULL,
            version TEXT NOT NULL DEFAULT '',
            state INTEGER NOT NULL,
            class TEXT NOT NULL,
            tier TEXT,
            days INTEGER,
            more_days INTEGER,
            requested_at INTEGER NOT NULL,
            PRIMARY KEY(key, version)
        ) WITHOUT ROWID;
        """

    /// Makes the tables in a new file. Answers the version that the file has now; one above `version` is a newer
    /// thawfs's, and was left alone.
    static func prepare(_ connection: Connection) throws(DatabaseError) -> Int32 {
        let found = try connection.userVersion
        guard found == 0 else { return found }
        try connection.transaction { () throws(DatabaseError) in
            try connection.execute(statements)
            try connection.setUserVersion(version)
        }
        return version
    }
}
