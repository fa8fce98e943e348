/// The tables of schema version 2, as thawfs made them before it could write.
let version2 = """
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
    PRAGMA user_version = 2;
    """
