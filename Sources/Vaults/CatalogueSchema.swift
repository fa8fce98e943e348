internal import Database

/// The catalogue's tables: what is in the vaults, under which name. It is the only directory there is; what it alone
/// knows (names given after the upload, attributes, what no archive holds) is lost with it.
enum CatalogueSchema {
    static let version: Int32 = 1

    /// vault: a vault that this catalogue has taken in.
    ///   inventory_date   of the newest inventory that was merged, ns since the epoch; NULL = none was
    ///
    /// entry: a name in a vault.
    ///   path       of the file, without the vault; a directory's ends in `/`
    ///   archive    NULL = only the catalogue has it: directories, empty files, symbolic links
    ///   tree       the archive's tree-etag, or of the content
    ///   created    when the archive was made, by the store's clock, ns since the epoch
    ///   headers    JSON: what travels with an object elsewhere, `metadata` and `standard`
    ///   content    of what only the catalogue has
    ///   sequence   counts up over the whole catalogue with every entry that is made
    ///
    /// counter: the sequence of the newest entry, which may be gone.
    ///
    /// deletion: an archive that is to be deleted, or was: an inventory may list it for a day yet.
    ///   path       the entry that goes with it once the store has deleted it; NULL = it has gone already
    ///   done_at    NULL = the store has not been heard of it; ns since the epoch
    ///
    /// retrieval: an archive whose content was asked for; one for each.
    ///   job        NULL = asked for, and the reply has not come: look at the jobs before asking again
    ///   state      0 asked for, 1 in progress, 2 succeeded
    ///   changed_at of our own clock, ns since the epoch: what was listed before says nothing of it
    ///   completed  ns since the epoch, with state 2
    ///
    /// inventory: the inventory of a vault that was asked for and not merged yet.
    ///   job        as above
    ///   sequence   the newest entry when it was asked for: later ones cannot be in it
    static let tables = """
        CREATE TABLE vault(id TEXT PRIMARY KEY, inventory_date INTEGER) WITHOUT ROWID;
        CREATE TABLE entry(
            vault TEXT NOT NULL,
            path BLOB NOT NULL,
            archive TEXT,
            size INTEGER NOT NULL,
            tree TEXT NOT NULL,
            created INTEGER NOT NULL,
            headers TEXT NOT NULL,
            content BLOB,
            sequence INTEGER NOT NULL,
            PRIMARY KEY(vault, path)
        ) WITHOUT ROWID;
        CREATE INDEX entry_archive ON entry(archive) WHERE archive IS NOT NULL;
        CREATE INDEX entry_sequence ON entry(sequence);
        CREATE TABLE deletion(archive TEXT PRIMARY KEY, vault TEXT NOT NULL, path BLOB, done_at INTEGER) WITHOUT ROWID;
        CREATE TABLE retrieval(
            archive TEXT PRIMARY KEY,
            vault TEXT NOT NULL,
            job TEXT,
            state INTEGER NOT NULL,
            changed_at INTEGER NOT NULL,
            completed INTEGER
        ) WITHOUT ROWID;
        CREATE INDEX retrieval_under_way ON retrieval(vault) WHERE state < 2;
        CREATE TABLE counter(sequence INTEGER NOT NULL);
        INSERT INTO counter VALUES(0);
        CREATE TABLE inventory(
            vault TEXT PRIMARY KEY, job TEXT, asked_at INTEGER NOT NULL, sequence INTEGER NOT NULL) WITHOUT ROWID;
        """

    static func prepare(_ connection: Connection) throws(DatabaseError) -> Int32 {
        let found = try connection.userVersion
        guard found == 0 else { return found }
        try connection.transaction { () throws(DatabaseError) in
            try connection.execute(tables)
            try connection.setUserVersion(version)
        }
        return version
    }
}
