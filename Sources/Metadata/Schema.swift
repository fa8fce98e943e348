internal import Database

/// The metadata store's tables. It is a cache of the bucket, rebuildable by asking again, with exceptions: what
/// concerns restores, restores from backups, and writing are promises, and their commits reach the disk before anybody
/// acts on them.
enum Schema {
    static let version: Int32 = 4

    /// directory: a key prefix that somebody looked into.
    ///   prefix      ends in `/`, or empty for the bucket's root
    ///   listing     number of the newest listing begun; counts up over the whole store, 0 = never
    ///   started_at  when that listing began, ns since the epoch
    ///   listed_at   `started_at` of the newest listing that came to its end, 0 = never: from then on, and for the
    ///               TTL, a segment without a row is known not to exist
    ///   emptied_at  when we emptied it or moved it away, 0 = never: what was asked for before says nothing of it
    ///
    /// entry: one name below a directory, present or known to be absent.
    ///   segment     the key after the prefix: `name` for an object, `name/` for a directory, so that both can
    ///               exist and rows sort exactly as a listing does
    ///   listing     the listing that saw it last, 0 = a lookup did
    ///   checked_at  when the store was last asked, ns since the epoch
    ///   kind        0 absent, 1 object, 2 directory
    ///   restore     0 no restore header, 1 ongoing, 2 restored; expiry (ns) with 2, 0 = none was given
    ///   archive     S3 Intelligent-Tiering's archive status; '' = a HEAD said there is none, NULL = unknown
    ///   mode, uid, gid, mtime, extended   the file's attributes as its headers have them, NULL = not stored; extended
    ///               is JSON of names and values in Base64
    ///   attributes_known   0 = nobody has looked at the headers, and those columns are NULL
    private static let cache = """
        CREATE TABLE directory(
            id INTEGER PRIMARY KEY,
            prefix BLOB NOT NULL UNIQUE,
            listing INTEGER NOT NULL DEFAULT 0,
            started_at INTEGER NOT NULL DEFAULT 0,
            listed_at INTEGER NOT NULL DEFAULT 0,
            emptied_at INTEGER NOT NULL DEFAULT 0
        );
        CREATE INDEX directory_listing ON directory(listing);
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
            mode INTEGER,
            uid INTEGER,
            gid INTEGER,
            mtime INTEGER,
            extended BLOB,
            attributes_known INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY(directory, segment)
        ) WITHOUT ROWID;
        """

    /// request: one wish of somebody's, for one object or for many.
    ///   origin      `RestoreOrigin`: 0 a read, 1 a command, 2 restored ahead of reads
    ///   requester   who, for people: `cat[123] uid 0`
    ///   target      what, for people
    ///   days, tier  as wished, before any class had its say; NULL = nothing was said
    ///   stage       0 its scopes are still being told (forgotten at the next mount), 1 its scopes are being looked
    ///               through for objects, 2 all its objects are known, 3 finished
    ///   pending     its wishes whose object is not settled; the triggers below keep it
    ///   restored, failed, cancelled   objects and bytes, counted for good when it is finished (cancelled: at once)
    ///   error       the last failure of one of its objects
    ///   incomplete  its scopes could not be looked through to the end
    ///
    /// scope: what a request is about and has not been looked through yet.
    ///   kind        0 one object, 1 a directory's own objects, 2 a whole tree, 3 nothing below: it was cancelled; of
    ///               all but 0 key is a prefix
    ///   cursor      the last key of the tree that has been taken in; resumed after it
    ///
    /// restore: an object under care, once, however many requests want it.
    ///   id          never used again: what is on its way for a row that was cancelled finds nothing
    ///   version     '' for the current one
    ///   state       0 queued, 1 the request is on its way (after a crash: look before asking again), 2 the provider is
    ///               at work, 3 a readable copy is there, 4 failed
    ///   lane        whose limits its submission counts against
    ///   tier, days  to be asked for, or asked for; NULL where the class has none
    ///   more_days   wished for while the provider works, to be asked for when the copy is there
    ///   slow_tier   with state 0 or 1: the provider is at work already, with this tier
    ///   rank        0 somebody named it or waits for it, 1 one of many
    ///   asked_at    when the provider took the request, 0 = not yet
    ///   due_at      state 0: not before; 2: when to look; 3: when to renew. ns since the epoch
    ///   copy_until  a readable copy is there until then; 0 = no date was given, NULL = none is there. Queued with one:
    ///               it is to last longer
    ///   charged     bytes that the reads' budget bears for it, given back if the provider never takes the request
    ///   strikes     failures in a row
    ///
    /// wish: this request wants this object. An object that nobody wants leaves the table, unless it failed.
    ///
    /// spending: bytes that an account (a lane, or the reads' budget) was charged in one minute since the epoch.
    private static let restores = """
        CREATE TABLE request(
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            origin INTEGER NOT NULL,
            requester TEXT NOT NULL,
            target TEXT NOT NULL,
            days INTEGER,
            tier TEXT,
            created_at INTEGER NOT NULL,
            finished_at INTEGER,
            stage INTEGER NOT NULL,
            pending INTEGER NOT NULL DEFAULT 0,
            restored INTEGER NOT NULL DEFAULT 0,
            restored_bytes INTEGER NOT NULL DEFAULT 0,
            failed INTEGER NOT NULL DEFAULT 0,
            failed_bytes INTEGER NOT NULL DEFAULT 0,
            cancelled INTEGER NOT NULL DEFAULT 0,
            cancelled_bytes INTEGER NOT NULL DEFAULT 0,
            error TEXT,
            incomplete INTEGER NOT NULL DEFAULT 0
        );
        CREATE INDEX request_unfinished ON request(stage) WHERE stage < 3;
        CREATE INDEX request_settled ON request(id) WHERE stage = 2 AND pending = 0;
        CREATE INDEX request_finished ON request(id) WHERE stage = 3;
        CREATE TABLE scope(
            request INTEGER NOT NULL,
            kind INTEGER NOT NULL,
            key BLOB NOT NULL,
            version TEXT NOT NULL,
            cursor BLOB,
            PRIMARY KEY(request, kind, key, version)
        ) WITHOUT ROWID;
        CREATE TABLE restore(
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            key BLOB NOT NULL,
            version TEXT NOT NULL,
            state INTEGER NOT NULL,
            class TEXT NOT NULL,
            lane TEXT NOT NULL,
            tier TEXT,
            days INTEGER,
            more_days INTEGER,
            slow_tier TEXT,
            size INTEGER NOT NULL,
            etag TEXT NOT NULL,
            rank INTEGER NOT NULL,
            asked_at INTEGER NOT NULL DEFAULT 0,
            due_at INTEGER NOT NULL DEFAULT 0,
            copy_until INTEGER,
            charged INTEGER NOT NULL DEFAULT 0,
            strikes INTEGER NOT NULL DEFAULT 0,
            error TEXT,
            UNIQUE(key, version)
        );
        CREATE INDEX restore_queue ON restore(lane, rank, id) WHERE state = 0;
        CREATE INDEX restore_later ON restore(lane, due_at) WHERE state = 0;
        CREATE INDEX restore_under_way ON restore(key) WHERE state = 2 AND version = '';
        CREATE INDEX restore_due ON restore(due_at) WHERE state IN (2, 3);
        CREATE INDEX restore_asking ON restore(id) WHERE state = 1;
        CREATE TABLE wish(
            request INTEGER NOT NULL,
            restore INTEGER NOT NULL,
            PRIMARY KEY(request, restore)
        ) WITHOUT ROWID;
        CREATE INDEX wish_of_restore ON wish(restore);
        CREATE TRIGGER wish_made AFTER INSERT ON wish
        WHEN (SELECT state FROM restore WHERE id = new.restore) < 3 BEGIN
            UPDATE request SET pending = pending + 1 WHERE id = new.request;
        END;
        CREATE TRIGGER wish_dropped AFTER DELETE ON wish
        WHEN (SELECT state FROM restore WHERE id = old.restore) < 3 BEGIN
            UPDATE request SET pending = pending - 1 WHERE id = old.request;
        END;
        CREATE TRIGGER restore_settled AFTER UPDATE OF state ON restore WHEN old.state < 3 AND new.state >= 3 BEGIN
            UPDATE request SET pending = pending - 1 WHERE id IN (SELECT request FROM wish WHERE restore = new.id);
        END;
        CREATE TRIGGER restore_reopened AFTER UPDATE OF state ON restore WHEN old.state >= 3 AND new.state < 3 BEGIN
            UPDATE request SET pending = pending + 1 WHERE id IN (SELECT request FROM wish WHERE restore = new.id);
        END;
        CREATE TABLE spending(
            account TEXT NOT NULL,
            minute INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            PRIMARY KEY(account, minute)
        ) WITHOUT ROWID;
        """

    /// upload: a file whose content was accepted and is not in the store yet; one for each key. Besides, with an
    /// accepted_at of 0, any number of files that were given up, and are kept for their owner to copy out.
    ///   staging     the name of the file that has its changed ranges
    ///   base_…      the object whose other ranges go with them, NULL without one; base_end: how many of its first
    ///               bytes still count
    ///   extents     the ranges that the staging file has, sorted: pairs of 8-byte little-endian offsets
    ///   mode, uid, gid, mtime, extended   as in entry
    ///   headers     JSON: the object's other headers, `metadata` and `standard`
    ///   class       NULL for the bucket's own
    ///   condition   0 always, 1 there is no object of this key, 2 it has the ETag condition_etag
    ///   error       why it was not uploaded when that was tried last
    ///
    /// multipart: an upload in parts that was begun and not ended; aborted at the next mount.
    ///
    /// hidden: the key of a copy of an object that was deleted while it was open. It is deleted when that ends.
    ///
    /// rename: a directory, or an object, that is on its way from source to target.
    ///   stage       `RenameRow.Stage`: 0 copying, 1 all is copied and the source is being deleted, 2 it was given up
    ///               and the copies are being deleted
    ///   replaces    the target's marker was there before
    ///
    /// deferred: attributes of a frozen object that were changed here and are written to it when it is thawed; of no
    ///           use to an object with another ETag.
    private static let journal = """
        CREATE TABLE upload(
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            key BLOB NOT NULL,
            staging TEXT NOT NULL,
            size INTEGER NOT NULL,
            base_key BLOB,
            base_version TEXT,
            base_etag TEXT,
            base_size INTEGER,
            base_end INTEGER,
            extents BLOB NOT NULL,
            mode INTEGER,
            uid INTEGER,
            gid INTEGER,
            mtime INTEGER,
            extended BLOB,
            headers TEXT NOT NULL,
            class TEXT,
            condition INTEGER NOT NULL,
            condition_etag TEXT,
            accepted_at INTEGER NOT NULL,
            error TEXT,
            error_at INTEGER
        );
        CREATE UNIQUE INDEX upload_of_key ON upload(key) WHERE accepted_at > 0;
        CREATE TABLE multipart(
            key BLOB NOT NULL,
            upload TEXT NOT NULL,
            PRIMARY KEY(key, upload)
        ) WITHOUT ROWID;
        CREATE TABLE hidden(key BLOB PRIMARY KEY) WITHOUT ROWID;
        CREATE TABLE rename(
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            source BLOB NOT NULL,
            target BLOB NOT NULL,
            stage INTEGER NOT NULL,
            replaces INTEGER NOT NULL
        );
        CREATE TABLE deferred(
            key BLOB PRIMARY KEY,
            etag TEXT NOT NULL,
            mode INTEGER,
            uid INTEGER,
            gid INTEGER,
            mtime INTEGER,
            extended BLOB
        ) WITHOUT ROWID;
        """

    /// backup: a restore job of Cloud Backup that was wished for, whose target is a directory of this bucket. A wish
    /// takes several jobs if it has many paths; all of one directory are of one wish.
    ///   prefix      the directory's, as the job is to have it
    ///   include, exclude   JSON: arrays of paths
    ///   stage       `BackupRow.Stage`: 0 wished for (after a crash: look whether there is a job before making one),
    ///               1 the job is known, 2 it is to be cancelled, 3 nothing more happens to it
    ///   job         the service's id, NULL = not known
    ///   status      the service's word, NULL = none yet
    ///   error       what went wrong, with the service's code
    ///   error_file  where the service lists what was not restored
    ///   ended_at    ns since the epoch, 0 = not yet
    private static let backups = """
        CREATE TABLE backup(
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            prefix BLOB NOT NULL,
            vault TEXT NOT NULL,
            snapshot TEXT NOT NULL,
            include TEXT NOT NULL,
            exclude TEXT NOT NULL,
            wished_at INTEGER NOT NULL,
            stage INTEGER NOT NULL,
            job TEXT,
            status TEXT,
            error TEXT,
            error_file TEXT,
            ended_at INTEGER NOT NULL DEFAULT 0
        );
        CREATE INDEX backup_of_prefix ON backup(prefix);
        """

    /// Version 1 had restores only, one row for each: state 0 about to ask, 1 the provider is at work. Each becomes a
    /// request of its own. Size and ETag are not known; the next look at the object does not need them.
    private static let fromVersion1 = """
        ALTER TABLE restore RENAME TO restore_1;
        \(restores)
        INSERT INTO restore(key, version, state, class, lane, tier, days, more_days, size, etag, rank, asked_at, due_at)
            SELECT key, version, state + 1, class, '', tier, days, more_days, 0, '', 0, requested_at, 0 FROM restore_1;
        INSERT INTO request(id, origin, requester, target, days, tier, created_at, stage)
            SELECT r.id, 0, 'an earlier mount', CAST(r.key AS TEXT), r.days, r.tier, r.asked_at, 2 FROM restore r;
        INSERT INTO wish(request, restore) SELECT id, id FROM restore;
        DROP TABLE restore_1;
        """

    /// Version 2 knew nothing of writing.
    private static let fromVersion2 = """
        ALTER TABLE directory ADD COLUMN emptied_at INTEGER NOT NULL DEFAULT 0;
        CREATE INDEX directory_listing ON directory(listing);
        ALTER TABLE entry ADD COLUMN mode INTEGER;
        ALTER TABLE entry ADD COLUMN uid INTEGER;
        ALTER TABLE entry ADD COLUMN gid INTEGER;
        ALTER TABLE entry ADD COLUMN mtime INTEGER;
        ALTER TABLE entry ADD COLUMN extended BLOB;
        ALTER TABLE entry ADD COLUMN attributes_known INTEGER NOT NULL DEFAULT 0;
        \(journal)
        """

    /// What carries the promises over into a new file, from one that is attached by this name, the most important
    /// first.
    static func carryingOver(from old: String) -> [String] {
        // The order matters: a wish for an object that is there counts as pending.
        let tables = [
            "upload", "rename", "hidden", "deferred", "multipart", "backup", "restore", "spending", "request", "scope",
        ]
        // Ids go on where they were: news of objects that were dropped may still be on their way.
        return ["INSERT INTO main.sqlite_sequence SELECT name, seq FROM \(old).sqlite_sequence"]
            + tables.map { "INSERT OR IGNORE INTO main.\($0) SELECT * FROM \(old).\($0)" }
            + [
                "UPDATE main.request SET pending = 0",
                "INSERT OR IGNORE INTO main.wish SELECT * FROM \(old).wish",
            ]
    }

    /// Came later than version 4, and is made in files of that version too.
    private static let raised = """
        CREATE INDEX IF NOT EXISTS restore_raised ON restore(key, version) WHERE state = 0 AND slow_tier IS NOT NULL
        """

    /// The `application_id` of a file that was begun anew: staging files that it does not name may have been accepted.
    /// It is 0 once they are set aside.
    static let mayMissUploads: Int32 = 1

    /// Makes the tables in a new file, or brings an older one up to date. Answers the version that the file has now;
    /// one above `version` is a newer thawfs's, and was left alone.
    static func prepare(_ connection: Connection) throws(DatabaseError) -> Int32 {
        let found = try connection.userVersion
        guard found <= version else { return found }
        guard found < version else {
            try connection.execute(raised)
            return found
        }
        try connection.transaction { () throws(DatabaseError) in
            switch found {
            case 0:
                try connection.execute(cache + restores + journal)
                try connection.setApplicationID(mayMissUploads)
            case 1: try connection.execute(fromVersion1 + fromVersion2)
            case 2: try connection.execute(fromVersion2)
            // Version 3 knew nothing of backups.
            default: break
            }
            try connection.execute(backups + raised)
            try connection.setUserVersion(version)
        }
        return version
    }
}
