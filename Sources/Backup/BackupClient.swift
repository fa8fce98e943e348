// Cloud Backup (HBR), API version 2017-09-08: the RPC endpoint, signed with ACS3-HMAC-SHA256.
//
// What is not documented, or only by example, is assumed in one place each, named there with its source:
// `RestoreJob.progressScale`, `RestoreJob.does` (how prefixes come back), `BackupClient.jobs(_:)` (the JobId filter),
// `SnapshotRestore.pathsLengthMax`, `SnapshotSearch.bucket`. docs/notes/backup.md has them all.

package import Logging
package import ObjectStore
package import ThawCore
internal import Wire

/// Cloud Backup in one region: vaults, snapshots, and jobs that restore them.
///
/// Reading is retried, each time with a new nonce and date. Safe to use from any task.
package struct BackupClient: Sendable {
    let exchange: Exchange
    let logger: Logger

    package init(
        _ endpoint: Endpoint, credentials: any CredentialsProvider, transport: any Transport, logger: Logger,
        clock: @escaping @Sendable () -> Timestamp = { Timestamp.now() },
        sleep: @escaping RetryingStore.Sleep = RetryingStore.taskSleep
    ) {
        self.logger = logger
        if endpoint.scheme == .http, !endpoint.isNumericOrLocal {
            logger.warning("endpoint \(endpoint.authority) is asked over http: anybody on the way can read what is asked")
        }
        exchange = Exchange(
            endpoint, credentials: credentials, transport: transport, logger: logger, clock: clock, sleep: sleep)
    }

    /// The public endpoint of a region. (The vendor's SDK asks `hbr.aliyuncs.com` for a few regions that are not
    /// public: for those, name it as the endpoint.)
    package static func endpoint(region: String) -> Endpoint {
        Endpoint(scheme: .https, host: "hbr.\(region).aliyuncs.com")
    }

    /// By the service's clock, as far as it is known.
    package var now: Timestamp { exchange.now }

    package func vaults() async throws(BackupError) -> [Vault] {
        try await pages("DescribeVaults", [], of: ("Vaults", "Vault"), Vault.init)
    }

    private static let snapshotsPerPage = 100

    /// The oldest first.
    package func snapshots(_ search: SnapshotSearch) async throws(BackupError) -> [Snapshot] {
        var found: [Snapshot] = []
        var token: String?
        while true {
            var query = [
                QueryItem("SourceType", search.type.rawValue), QueryItem("Query", search.query.text),
                QueryItem("Limit", String(Self.snapshotsPerPage)),
            ]
            if let token { query.append(QueryItem("NextToken", token)) }
            let reply = try await exchange.send(Exchange.Action(name: "SearchHistoricalSnapshots", query: query))
            let page = try Self.elements(reply, ("Snapshots", "Snapshot"), Snapshot.init)
            found += page
            let next = reply.text("NextToken")
            guard let next, !page.isEmpty else {
                return found.sorted { ($0.completedAt ?? .epoch) < ($1.completedAt ?? .epoch) }
            }
            guard next != token else { throw .nonsense("the list of snapshots goes on with its own beginning") }
            token = next
        }
    }

    /// All restore jobs of a kind, of one vault or of every one; the newest first.
    package func jobs(_ type: BackupType, vault: String? = nil) async throws(BackupError) -> [RestoreJob] {
        try await jobs(type, where: vault.map { ("VaultId", [$0]) })
    }

    /// Those of a vault's restore jobs that have these ids.
    ///
    /// Whether the filter `JobId` means restore jobs is not said (it is documented as that of backup jobs): whatever it
    /// does not find is looked for among all of the vault.
    package func jobs(
        _ ids: Set<String>, _ type: BackupType, vault: String
    ) async throws(BackupError) -> [RestoreJob] {
        do throws(BackupError) {
            let found = try await jobs(type, where: ("JobId", ids.sorted())).filter { ids.contains($0.id) }
            if found.count == ids.count { return found }
        } catch {
            guard error.kind == .invalid || error.kind == .notFound else { throw error }
        }
        return try await jobs(type, vault: vault).filter { ids.contains($0.id) }
    }

    private func jobs(
        _ type: BackupType, where filter: (key: String, values: [String])?
    ) async throws(BackupError) -> [RestoreJob] {
        var query = [QueryItem("RestoreType", type.rawValue)]
        if let filter {
            query += [QueryItem("Filters.1.Key", filter.key), QueryItem("Filters.1.Operator", "IN")]
            query += filter.values.enumerated().map { QueryItem("Filters.1.Values.\($0 + 1)", $1) }
        }
        return try await pages("DescribeRestoreJobs2", query, of: ("RestoreJobs", "RestoreJob"), RestoreJob.init)
            .sorted { ($0.createdAt, $0.id) > ($1.createdAt, $1.id) }
    }

    /// The job stops where it is; what it has restored stays.
    package func cancel(_ job: String, vault: String) async throws(BackupError) {
        _ = try await exchange.send(
            Exchange.Action(
                name: "CancelRestoreJob", query: [QueryItem("RestoreId", job), QueryItem("VaultId", vault)]))
    }

    // MARK: Pages

    /// The most that the service gives.
    private static let pageSize = 99

    private func pages<Element>(
        _ action: String, _ query: [QueryItem], of place: (String, String), _ read: (JSON) -> Element?
    ) async throws(BackupError) -> [Element] {
        var found: [Element] = []
        var number = 1
        while true {
            let page = [QueryItem("PageNumber", String(number)), QueryItem("PageSize", String(Self.pageSize))]
            let reply = try await exchange.send(Exchange.Action(name: action, query: query + page))
            let elements = try Self.elements(reply, place, read)
            found += elements
            guard !elements.isEmpty, found.count < reply.count("TotalCount") else { return found }
            number += 1
        }
    }

    private static func elements<Element>(
        _ reply: JSON, _ place: (String, String), _ read: (JSON) -> Element?
    ) throws(BackupError) -> [Element] {
        let list = reply[place.0]?[place.1]?.array ?? []
        let elements = list.compactMap(read)
        // What cannot be read may be what is looked for.
        guard elements.count == list.count, !list.isEmpty || reply[place.0] != nil || reply.count("TotalCount") == 0
        else { throw .nonsense("the reply has no readable \(place.0)", requestID: reply.text("RequestId")) }
        return elements
    }
}
