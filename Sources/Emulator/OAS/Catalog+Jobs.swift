import Database
import ThawCore
import Wire

/// A job of a vault. Its output is there from `ready` on, for a day.
struct VaultJob: Sendable {
    enum Action: String, Sendable {
        case archiveRetrieval = "ArchiveRetrieval"
        case inventoryRetrieval = "InventoryRetrieval"
        case pullFromOSS = "PullFromOSS"
        case pushToOSS = "PushToOSS"

        var hasOutput: Bool { self == .archiveRetrieval || self == .inventoryRetrieval }

        /// About four hours for what comes out of the archive (OAS API manual, "Jobs"). Nothing is documented of what
        /// goes in: that it is quicker is assumed.
        var duration: Duration { self == .pullFromOSS ? .seconds(600) : .seconds(4 * 3600) }
    }

    /// As the provider writes it.
    enum State: String, Sendable {
        case inProgress = "InProgress"
        case succeeded = "Succeeded"
        case failed = "Failed"
    }

    var id: String
    var action: Action
    var archive = ""
    var description = ""
    var created: Timestamp
    var ready: Timestamp
    /// While the job goes on, what it will come to: of a transfer that is found out at its end.
    var outcome = State.succeeded
    var isSettled = true
    var message = ""
    /// Of the archive's bytes.
    var range: Range<UInt64> = 0..<0
    var archiveBytes: UInt64 = 0
    var archiveTree = ""
    /// Of the range.
    var leaves: [String] = []
    var content: [Segment] = []
    var inventory = ""
    var bucket = ""
    var object = ""

    /// Whether the range is one node of the archive's tree.
    private var isTreeAligned: Bool {
        let block = UInt64(TreeETag.blockBytes)
        guard !range.isEmpty else { return false }
        return Self.isSubtree(
            Int(range.lowerBound / block)...Int((range.upperBound - 1) / block),
            of: Int((archiveBytes + block - 1) / block))
    }

    func state(at now: Timestamp) -> State { now < ready ? .inProgress : outcome }
    func isGone(at now: Timestamp) -> Bool { now >= ready + ArchiveRules.oasOutputLife }

    func json(at now: Timestamp) -> JSON {
        let isOver = now >= ready
        let isRetrieval = action == .archiveRetrieval
        let last = range.isEmpty ? 0 : range.upperBound - 1
        return [
            "Action": .string(action.rawValue), "ArchiveId": .string(archive),
            "ArchiveSizeInBytes": archive.isEmpty ? -1 : JSON(archiveBytes),
            "ArchiveTreeEtag": .string(archiveTree),
            "TreeEtag": .string(isRetrieval && isTreeAligned ? TreeETag.root(of: leaves) : ""),
            "Completed": .bool(isOver), "CompletionDate": .string(isOver ? WireDate.rfc1123(ready) : ""),
            "CreationDate": .string(WireDate.rfc1123(created)),
            "InventorySizeInBytes": action == .inventoryRetrieval && isOver ? JSON(inventory.utf8.count) : -1,
            "JobDescription": .string(description), "JobId": .string(id),
            "RetrievalByteRange": .string(isRetrieval ? "\(range.lowerBound)-\(last)" : ""),
            "StatusCode": .string(state(at: now).rawValue), "StatusMessage": .string(isOver ? message : ""),
        ]
    }
}

extension CatalogTables {
    private static func job(_ row: Statement) throws(ProviderError) -> VaultJob {
        let state = row.text(6)
        return VaultJob(
            id: row.text(0), action: VaultJob.Action(rawValue: row.text(1)) ?? .archiveRetrieval, archive: row.text(2),
            description: row.text(3), created: Timestamp(nanoseconds: row.int64(4)),
            ready: Timestamp(nanoseconds: row.int64(5)), outcome: VaultJob.State(rawValue: state) ?? .succeeded,
            isSettled: state != VaultJob.State.inProgress.rawValue, message: row.text(7),
            range: row.uint64(8)..<row.uint64(9), archiveBytes: row.uint64(10), archiveTree: row.text(11),
            leaves: row.text(12).split(separator: " ").map(String.init), content: try content(row.text(13)),
            inventory: row.text(14), bucket: row.text(15), object: row.text(16))
    }

    /// Every job of the vault but those whose output is gone, which are forgotten with it.
    func jobs(of vault: Vault, at now: Timestamp) throws(ProviderError) -> (jobs: [VaultJob], freed: [Int64]) {
        let all = try rows(
            """
            SELECT id, action, archive, description, created, ready, state, message, low, high, archive_size, tree,
                leaves, content, inventory, bucket, object
            FROM jobs WHERE vault = ?1 ORDER BY id
            """, [.text(vault.id)]
        ) { row throws(ProviderError) in try Self.job(row) }
        var freed: [Int64] = []
        for job in all where job.isGone(at: now) {
            try run("DELETE FROM jobs WHERE id = ?1", [.text(job.id)])
            freed += try release(job.content)
        }
        return (all.filter { !$0.isGone(at: now) }, freed)
    }

    /// Answers the blobs that nothing refers to any more.
    func dropJobs(of archive: String, in vault: Vault) throws(ProviderError) -> [Int64] {
        let content = try rows(
            "SELECT content FROM jobs WHERE vault = ?1 AND archive = ?2", [.text(vault.id), .text(archive)]
        ) { row throws(ProviderError) in try Self.content(row.text(0)) }
        try run("DELETE FROM jobs WHERE vault = ?1 AND archive = ?2", [.text(vault.id), .text(archive)])
        return try release(content.flatMap { $0 })
    }

    /// A new job, whose content is kept until it is gone, or a known one in its new state.
    func store(_ job: VaultJob, of vault: Vault, isNew: Bool) throws(ProviderError) {
        let state = job.isSettled ? job.outcome : .inProgress
        try run(
            """
            INSERT OR REPLACE INTO jobs(
                vault, id, action, archive, description, created, ready, state, message, low, high, archive_size, tree,
                leaves, content, inventory, bucket, object)
            VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)
            """,
            [
                .text(vault.id), .text(job.id), .text(job.action.rawValue), .text(job.archive), .text(job.description),
                .time(job.created), .time(job.ready), .text(state.rawValue), .text(job.message),
                .int(Int64(job.range.lowerBound)), .int(Int64(job.range.upperBound)), .int(Int64(job.archiveBytes)),
                .text(job.archiveTree), .text(job.leaves.joined(separator: " ")), .text(job.content.text),
                .text(job.inventory), .text(job.bucket), .text(job.object),
            ])
        if isNew { try retain(job.content) }
    }
}
