internal import Database
internal import ObjectStore
internal import ThawCore
internal import Wire

/// An archive as an inventory lists it.
struct InventoryItem: Sendable {
    var archive: String
    var description: String
    var created: Timestamp
    var sizeBytes: UInt64
    /// Empty where the inventory tells none.
    var tree: String
}

/// An inventory that was asked for.
struct PendingInventory: Sendable {
    var job: String?
    var askedAt: Timestamp
}

/// What a merge changed.
struct InventoryNews: Sendable, Equatable {
    var appeared = 0
    var vanished = 0
}

extension Catalogue {
    // MARK: - Retrievals

    func retrieval(of archive: String) throws(StoreError) -> Retrieval? {
        try reading { () throws(DatabaseError) in
            try rows("SELECT job, state, completed FROM retrieval WHERE archive = ?1", [.text(archive)]) {
                Retrieval($0, from: 0)
            }.first
        }
    }

    func setRetrieval(_ retrieval: Retrieval, of archive: String, in vault: String) throws(StoreError) {
        try transaction { () throws(DatabaseError) in try put(retrieval, archive, vault, at: .now()) }
    }

    private func put(
        _ retrieval: Retrieval, _ archive: String, _ vault: String, at now: Timestamp
    ) throws(DatabaseError) {
        try run(
            "INSERT OR REPLACE INTO retrieval VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
            [
                .text(archive), .text(vault), .text(retrieval.job), .int(retrieval.state.rawValue), .time(now),
                .time(retrieval.completed),
            ])
    }

    /// - Parameter job: only if it is this one still
    func dropRetrieval(of archive: String, job: String? = nil) throws(StoreError) {
        try transaction { () throws(DatabaseError) in
            try run(
                "DELETE FROM retrieval WHERE archive = ?1 AND (?2 IS NULL OR job = ?2)", [.text(archive), .text(job)])
        }
    }

    /// Whether the store is at work on any archive of the vault, as far as is known.
    func hasRetrievals(under vault: String) throws(StoreError) -> Bool {
        try reading { () throws(DatabaseError) in
            try !rows("SELECT 1 FROM retrieval WHERE vault = ?1 AND state < 2 LIMIT 1", [.text(vault)]) { _ in true }
                .isEmpty
        }
    }

    /// Takes in the jobs that were listed by a request that began then. What was asked for since is left alone, and
    /// what is being asked for is not given up.
    func take(
        _ jobs: [VaultJob], of vault: String, listedAt start: Timestamp, sparing asking: Set<String>
    ) throws(StoreError) {
        var best: [String: Retrieval] = [:]
        for job in jobs where job.action == .archiveRetrieval && job.isWhole && job.state != .failed {
            let found = Retrieval(
                job: job.id, state: job.state == .succeeded ? .succeeded : .inProgress, completed: job.completed)
            // Its output is gone, though the job may be listed yet.
            if found.hasLapsed { continue }
            if let known = best[job.archive], known.isBetter(than: found) { continue }
            best[job.archive] = found
        }
        try transaction { () throws(DatabaseError) in
            let known = try rows(
                "SELECT archive, changed_at, job, state, completed FROM retrieval WHERE vault = ?1", [.text(vault)]
            ) { ($0.text(0), Timestamp(nanoseconds: $0.int64(1)), Retrieval($0, from: 2)) }
            for (archive, changedAt, retrieval) in known {
                // What a clock that was ahead has written is no news for ever.
                if changedAt >= start && changedAt <= .now() || best[archive] == retrieval {
                    best[archive] = nil
                } else if best[archive] == nil, !asking.contains(archive) {
                    try run("DELETE FROM retrieval WHERE archive = ?1", [.text(archive)])
                }
            }
            for (archive, retrieval) in best { try put(retrieval, archive, vault, at: start) }
            for job in jobs where job.action == .pullFromOSS && job.state == .succeeded { try adopt(job, vault) }
        }
    }

    /// What was pulled from OSS is in no inventory yet; its job tells as much as one would.
    private func adopt(_ job: VaultJob, _ vault: String) throws(DatabaseError) {
        guard !job.archive.isEmpty, job.archiveBytes > 0, try !isKnown(archive: job.archive) else { return }
        try add(
            InventoryItem(
                archive: job.archive, description: job.description, created: job.completed ?? .now(),
                sizeBytes: UInt64(job.archiveBytes), tree: job.archiveTree),
            to: vault)
    }

    private func isKnown(archive: String) throws(DatabaseError) -> Bool {
        try !rows(
            "SELECT 1 FROM entry WHERE archive = ?1 UNION ALL SELECT 1 FROM deletion WHERE archive = ?1 LIMIT 1",
            [.text(archive)]) { _ in true }.isEmpty
    }

    // MARK: - Inventories

    func inventory(of vault: String) throws(StoreError) -> PendingInventory? {
        try reading { () throws(DatabaseError) in
            try rows("SELECT job, asked_at FROM inventory WHERE vault = ?1", [.text(vault)]) { row in
                PendingInventory(
                    job: row.isNull(0) ? nil : row.text(0), askedAt: Timestamp(nanoseconds: row.int64(1)))
            }.first
        }
    }

    func beginInventory(of vault: String) throws(StoreError) {
        try transaction { () throws(DatabaseError) in
            try run(
                "INSERT OR REPLACE INTO inventory SELECT ?1, NULL, ?2, sequence FROM counter",
                [.text(vault), .time(.now())])
        }
    }

    func setInventoryJob(_ job: String, of vault: String) throws(StoreError) {
        try transaction { () throws(DatabaseError) in
            try run("UPDATE inventory SET job = ?2 WHERE vault = ?1", [.text(vault), .text(job)])
        }
    }

    func endInventory(of vault: String) throws(StoreError) {
        try transaction { () throws(DatabaseError) in
            try run("DELETE FROM inventory WHERE vault = ?1", [.text(vault)])
        }
    }

    /// How much older than an inventory an archive must be to be missed in it.
    private static let inventoryLag = Duration.seconds(3600)

    /// For how long after its end a job may be listed: its output lasts a day.
    private static let jobsListed = Duration.seconds(2 * 86_400)

    /// Makes the catalogue what the inventory says: archives of others appear, those that are gone vanish, and what was
    /// uploaded or deleted after it stays so. Names that were given since stay, too.
    func merge(
        _ items: [InventoryItem], at date: Timestamp, of vault: String
    ) throws(StoreError) -> InventoryNews {
        try transaction { () throws(DatabaseError) in
            var news = InventoryNews()
            let newest = try rows("SELECT sequence FROM inventory WHERE vault = ?1", [.text(vault)]) { $0.int64(0) }
            let listed = Set(items.map(\.archive))
            let known = try rows(
                "SELECT archive, path, sequence, created FROM entry WHERE vault = ?1 AND archive IS NOT NULL",
                [.text(vault)]
            ) { ($0.text(0), $0.blob(1), $0.int64(2), Timestamp(nanoseconds: $0.int64(3))) }
            for (archive, path, sequence, created) in known where !listed.contains(archive) {
                guard sequence <= newest.first ?? 0, created + Self.inventoryLag < date else { continue }
                try run("DELETE FROM entry WHERE vault = ?1 AND path = ?2", [.text(vault), .blob(path)])
                try run("DELETE FROM retrieval WHERE archive = ?1", [.text(archive)])
                news.vanished += 1
            }
            // The oldest first: of one path, what comes last is what has it.
            for item in items.sorted(by: { ($0.created, $0.archive) < ($1.created, $1.archive) }) {
                guard try !isKnown(archive: item.archive) else { continue }
                try add(item, to: vault)
                news.appeared += 1
            }
            // The job that pulled it may be listed for a day yet.
            let deleted = try rows(
                "SELECT archive FROM deletion WHERE vault = ?1 AND done_at < ?2",
                [.text(vault), .time(date - Self.jobsListed)]
            ) { $0.text(0) }
            for archive in deleted where !listed.contains(archive) {
                try run("DELETE FROM deletion WHERE archive = ?1", [.text(archive)])
            }
            try run("INSERT OR REPLACE INTO vault VALUES(?1, ?2)", [.text(vault), .time(date)])
            try run("DELETE FROM inventory WHERE vault = ?1", [.text(vault)])
            return news
        }
    }

    /// Names an archive that is not known by its description. Of several with one path, the newest has it.
    private func add(_ item: InventoryItem, to vault: String) throws(DatabaseError) {
        let path = ArchiveName.path(item.description) ?? ObjectKey(item.archive)
        var entry = CatalogueEntry(
            path: path, archive: item.archive, sizeBytes: item.sizeBytes,
            tree: item.tree.isEmpty ? item.archive : item.tree, created: item.created)
        let there = try rows(
            "SELECT archive, created FROM entry WHERE vault = ?1 AND path = ?2", [.text(vault), .blob(path.bytes)]
        ) { ($0.isNull(0) ? nil : $0.text(0), Timestamp(nanoseconds: $0.int64(1))) }.first
        if let (archive, created) = there {
            if let archive, created <= item.created {
                try run(
                    "UPDATE OR REPLACE entry SET path = ?3 WHERE vault = ?1 AND path = ?2",
                    [
                        .text(vault), .blob(path.bytes),
                        .blob(ArchiveName.duplicate(of: path, archive: archive).bytes),
                    ])
            } else {
                entry.path = ArchiveName.duplicate(of: path, archive: item.archive)
            }
        }
        try put(entry, in: vault)
    }
}

extension Retrieval {
    fileprivate func isBetter(than other: Retrieval) -> Bool {
        if state != other.state { return state.rawValue > other.state.rawValue }
        return completed ?? .epoch >= other.completed ?? .epoch
    }
}
