internal import Database
internal import Glibc
package import Logging
package import ObjectStore
package import ThawCore
internal import Wire

/// What is in the vaults of one mount, in SQLite, on a thread of its own: the directory that the store does not have.
/// What it says is on the disk before anybody acts on it.
package actor Catalogue {
    private let executor: ThreadExecutor
    private let connection: Connection
    private var prepared: [String: Statement] = [:]

    package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// Opens the file, or makes it. One that is damaged is set aside: a new one is begun, and taken in anew from the
    /// vaults' inventories.
    package init(path: String, executor: ThreadExecutor, log: Logger) throws(StoreError) {
        self.executor = executor
        do throws(DatabaseError) {
            connection = try Self.open(path)
        } catch {
            guard error.isCorrupt else { throw Self.failure(error) }
            let aside = "\(path).damaged-\(Timestamp.now().seconds)"
            for suffix in ["", "-wal", "-shm"] { rename(path + suffix, aside + suffix) }
            log.error("the catalogue was damaged (\(error.message)) and is kept as \(aside); a new one is begun")
            do throws(DatabaseError) { connection = try Self.open(path) } catch { throw Self.failure(error) }
        }
    }

    /// Of a mount whose state is there.
    package static func path(in state: String) -> String { state + "/catalogue.sqlite" }

    /// The archive of a path, as the catalogue of a mount has it that may be mounted now; nil if it has none.
    package static func archive(
        _ path: ObjectKey, in vault: String, ofCatalogueAt file: String
    ) throws(StoreError) -> String? {
        var options = Connection.Options()
        options.isReadOnly = true
        do throws(DatabaseError) {
            let query = try Connection(.file(file), options: options).prepare(
                "SELECT archive FROM entry WHERE vault = ?1 AND path = ?2 AND archive IS NOT NULL")
            try query.bind(vault, at: 1)
            try query.bind(path.bytes, at: 2)
            return try query.step() ? query.text(0) : nil
        } catch {
            throw failure(error)
        }
    }

    private static func open(_ path: String) throws(DatabaseError) -> Connection {
        var options = Connection.Options()
        options.synchronous = .full
        let connection = try Connection(.file(path), options: options)
        guard try CatalogueSchema.prepare(connection) == CatalogueSchema.version else {
            throw DatabaseError(code: 1, message: "the catalogue was written by a newer thawfs", sql: nil)
        }
        return connection
    }

    private static func failure(_ error: DatabaseError) -> StoreError {
        StoreError(.unreadable, code: "CatalogueFailed", message: "the vault's catalogue: \(error)")
    }

    // MARK: - Statements

    enum Value {
        case int(Int64?)
        case text(String?)
        case blob([UInt8]?)

        static func time(_ time: Timestamp?) -> Value { .int(time?.nanoseconds) }
    }

    private func statement(_ sql: String, _ values: [Value]) throws(DatabaseError) -> Statement {
        let statement: Statement
        if let known = prepared[sql] {
            statement = known
            statement.reset()
        } else {
            statement = try connection.prepare(sql)
            prepared[sql] = statement
        }
        for (index, value) in values.enumerated() {
            switch value {
            case .int(let number): try statement.bind(number, at: index + 1)
            case .text(let text): try statement.bind(text, at: index + 1)
            case .blob(let bytes): try statement.bind(bytes, at: index + 1)
            }
        }
        return statement
    }

    func run(_ sql: String, _ values: [Value] = []) throws(DatabaseError) {
        try statement(sql, values).run()
    }

    func rows<Row>(_ sql: String, _ values: [Value] = [], _ read: (Statement) -> Row) throws(DatabaseError) -> [Row] {
        let statement = try statement(sql, values)
        defer { statement.reset() }
        var rows: [Row] = []
        while try statement.step() { rows.append(read(statement)) }
        return rows
    }

    func transaction<Result>(_ body: () throws(DatabaseError) -> Result) throws(StoreError) -> Result {
        do throws(DatabaseError) { return try connection.transaction(body) } catch { throw Self.failure(error) }
    }

    func reading<Result>(_ body: () throws(DatabaseError) -> Result) throws(StoreError) -> Result {
        do throws(DatabaseError) { return try body() } catch { throw Self.failure(error) }
    }

    // MARK: - Entries

    private static let joined = """
        SELECT \(CatalogueEntry.columns) FROM entry LEFT JOIN retrieval ON retrieval.archive = entry.archive
        WHERE entry.vault = ?1 AND
        """

    func entry(_ path: ObjectKey, in vault: String) throws(StoreError) -> CatalogueEntry? {
        try reading { () throws(DatabaseError) in try find(path, in: vault) }
    }

    private func find(_ path: ObjectKey, in vault: String) throws(DatabaseError) -> CatalogueEntry? {
        try rows("\(Self.joined) path = ?2", [.text(vault), .blob(path.bytes)]) { CatalogueEntry($0) }.first
    }

    /// Up to so many names after `start`, in order; with a delimiter, those that share a prefix up to it as one.
    func list(
        _ prefix: ObjectKey, delimiter: UInt8?, after start: ObjectKey?, limit: Int, in vault: String
    ) throws(StoreError) -> ListPage {
        try reading { () throws(DatabaseError) in
            var page = ListPage(objects: [], prefixes: [], continuationToken: nil)
            // The next key that may be listed: at `from`, or after it.
            var (from, isInclusive) = (prefix, true)
            if let start, start >= prefix { (from, isInclusive) = (start, false) }
            if let delimiter, !isInclusive, from.hasPrefix(prefix),
                from.bytes.dropFirst(prefix.bytes.count).last == delimiter, let next = from.successorOfPrefix
            {
                // It is a prefix that was listed.
                (from, isInclusive) = (next, true)
            }
            while true {
                let rows = try statement(
                    "\(Self.joined) path \(isInclusive ? ">=" : ">") ?2 ORDER BY path",
                    [.text(vault), .blob(from.bytes)])
                defer { rows.reset() }
                var folded: ObjectKey?
                while folded == nil, try rows.step() {
                    let path = ObjectKey(rows.blob(0))
                    guard path.hasPrefix(prefix) else { return page }
                    guard page.objects.count + page.prefixes.count < limit else {
                        page.continuationToken = Self.token(max(page.objects.last?.key, page.prefixes.last))
                        return page
                    }
                    if let delimiter, let end = path.bytes[prefix.bytes.count...].firstIndex(of: delimiter) {
                        let common = ObjectKey(path.bytes[...end])
                        page.prefixes.append(common)
                        folded = common
                    } else {
                        let entry = CatalogueEntry(rows)
                        page.objects.append(ListedObject(key: entry.path, record: entry.record))
                    }
                }
                // Whatever else is below it says nothing more.
                guard let next = folded?.successorOfPrefix else { return page }
                (from, isInclusive) = (next, true)
            }
        }
    }

    /// Any bytes may be in a key, and a token is text.
    private static func token(_ key: ObjectKey?) -> String? { key.map { PercentEncoding.encode($0.bytes) } }
    static func key(ofToken token: String) -> ObjectKey? { PercentEncoding.decode(token).map { ObjectKey($0) } }

    /// Stores an entry in place of what has its path. Answers archives that are to be deleted now. When the condition
    /// does not hold (`preconditionFailed`), an archive that was made for the entry is to be deleted, too. One that was
    /// not made for it, and has lost its last name or is losing it, gets no other (`noSuchKey`).
    func store(
        _ entry: CatalogueEntry, _ condition: WriteCondition, in vault: String, isArchiveNew: Bool
    ) throws(StoreError) -> [String] {
        let outcome = try transaction { () throws(DatabaseError) -> (doomed: [String], refusal: StoreError?) in
            if !isArchiveNew, let archive = entry.archive, try !isKept(archive) {
                return ([], StoreError(.noSuchKey, code: "ArchiveDeleted", message: "\(archive) is being deleted"))
            }
            let there = try find(entry.path, in: vault)
            guard condition.holds(for: there) else {
                if isArchiveNew, let archive = entry.archive { try doom(archive, in: vault) }
                return ([], .conditionFailed(entry.path))
            }
            try put(entry, in: vault)
            guard let old = there?.archive, old != entry.archive, try !isNamed(old) else { return ([], nil) }
            try doom(old, in: vault)
            return ([old], nil)
        }
        if let refusal = outcome.refusal { throw refusal }
        return outcome.doomed
    }

    func put(_ entry: CatalogueEntry, in vault: String) throws(DatabaseError) {
        try run("UPDATE counter SET sequence = sequence + 1")
        try run(
            """
            INSERT OR REPLACE INTO entry VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, (SELECT sequence FROM counter))
            """,
            [
                .text(vault), .blob(entry.path.bytes), .text(entry.archive), .int(Int64(entry.sizeBytes)),
                .text(entry.tree), .time(entry.created), .text(HeadersText.encode(entry.headers)), .blob(entry.content),
            ])
    }

    private func isNamed(_ archive: String) throws(DatabaseError) -> Bool {
        try !rows("SELECT 1 FROM entry WHERE archive = ?1 LIMIT 1", [.text(archive)]) { _ in true }.isEmpty
    }

    /// Whether it has a name, and nobody has asked the store to delete it.
    private func isKept(_ archive: String) throws(DatabaseError) -> Bool {
        guard try isNamed(archive) else { return false }
        let isDoomed = "SELECT 1 FROM deletion WHERE archive = ?1 AND done_at IS NULL"
        return try rows(isDoomed, [.text(archive)]) { _ in true }.isEmpty
    }

    private func doom(_ archive: String, in vault: String) throws(DatabaseError) {
        try run("INSERT OR IGNORE INTO deletion VALUES(?1, ?2, NULL, NULL)", [.text(archive), .text(vault)])
    }

    // MARK: - Deleting

    /// Removes a name that is not its archive's only one. Answers the archive that has to be deleted first, if it is.
    func beginDeletion(
        _ path: ObjectKey, _ condition: WriteCondition, in vault: String
    ) throws(StoreError) -> String? {
        let outcome = try transaction { () throws(DatabaseError) -> (archive: String?, isRefused: Bool) in
            guard let there = try find(path, in: vault) else { return (nil, false) }
            guard condition.holds(for: there) else { return (nil, true) }
            let others = try rows(
                "SELECT 1 FROM entry WHERE archive = ?1 AND NOT (vault = ?2 AND path = ?3) LIMIT 1",
                [.text(there.archive), .text(vault), .blob(path.bytes)]) { _ in true }
            guard let archive = there.archive, others.isEmpty else {
                try run("DELETE FROM entry WHERE vault = ?1 AND path = ?2", [.text(vault), .blob(path.bytes)])
                return (nil, false)
            }
            try run(
                "INSERT OR REPLACE INTO deletion VALUES(?1, ?2, ?3, NULL)",
                [.text(archive), .text(vault), .blob(path.bytes)])
            return (archive, false)
        }
        if outcome.isRefused { throw .conditionFailed(path) }
        return outcome.archive
    }

    /// The store has deleted it.
    func endDeletion(_ archive: String) throws(StoreError) {
        try transaction { () throws(DatabaseError) in
            try run(
                """
                DELETE FROM entry WHERE archive = ?1
                    AND path = (SELECT path FROM deletion WHERE archive = ?1)
                """, [.text(archive)])
            try run("DELETE FROM retrieval WHERE archive = ?1", [.text(archive)])
            try run(
                "UPDATE deletion SET done_at = ?2, path = NULL WHERE archive = ?1", [.text(archive), .time(.now())])
        }
    }

    /// The store has refused it.
    func cancelDeletion(_ archive: String) throws(StoreError) {
        try transaction { () throws(DatabaseError) in
            try run("DELETE FROM deletion WHERE archive = ?1 AND path IS NOT NULL", [.text(archive)])
        }
    }

    func pendingDeletions(of vault: String) throws(StoreError) -> [String] {
        try reading { () throws(DatabaseError) in
            try rows("SELECT archive FROM deletion WHERE vault = ?1 AND done_at IS NULL", [.text(vault)]) { $0.text(0) }
        }
    }

    // MARK: - Vaults

    func isKnown(_ vault: String) throws(StoreError) -> Bool {
        try reading { () throws(DatabaseError) in
            try !rows("SELECT 1 FROM vault WHERE id = ?1", [.text(vault)]) { _ in true }.isEmpty
        }
    }

    func remember(_ vault: String) throws(StoreError) {
        try transaction { () throws(DatabaseError) in
            try run("INSERT OR IGNORE INTO vault VALUES(?1, NULL)", [.text(vault)])
        }
    }

    func forget(_ vault: String) throws(StoreError) {
        try transaction { () throws(DatabaseError) in
            for table in ["entry", "deletion", "retrieval", "inventory"] {
                try run("DELETE FROM \(table) WHERE vault = ?1", [.text(vault)])
            }
            try run("DELETE FROM vault WHERE id = ?1", [.text(vault)])
        }
    }
}

extension WriteCondition {
    func holds(for entry: CatalogueEntry?) -> Bool {
        switch self {
        case .always: true
        case .isAbsent: entry == nil
        case .matches(let etag): entry?.etag == etag
        }
    }
}

extension StoreError {
    static func conditionFailed(_ path: ObjectKey) -> StoreError {
        StoreError(.preconditionFailed, code: "PreconditionFailed", message: "\(path) is another file by now")
    }
}

private func max(_ left: ObjectKey?, _ right: ObjectKey?) -> ObjectKey? {
    guard let left, let right else { return left ?? right }
    return left > right ? left : right
}
