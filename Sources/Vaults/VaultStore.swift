package import Logging
package import ObjectStore
internal import Synchronization
package import ThawCore
package import Wire

/// A vault as a store of objects. The store itself knows archives by ids and lists nothing; names come from the
/// catalogue, and reading an archive is reading the output of a retrieval job. A restore starts such a job.
///
/// The first operation opens the vault: it finds its id, takes in what jobs there are, finishes deletions that were
/// begun, and sees to it that there is a catalogue.
package final class VaultStore: ObjectStore {
    package let dialect = Dialect.oas
    /// A copy is another name of the same archive.
    package let copiesFrozen = true

    let name: String
    let client: VaultClient
    let catalogue: Catalogue
    let log: Logger
    /// Of a multipart upload; a power of two of mebibytes, so that the parts' tree-etags make the whole's.
    let partBytes: UInt64
    let sleep: RetryingStore.Sleep
    /// Called when an inventory has changed the catalogue.
    let changed: @Sendable () async -> Void
    let state = Mutex(State())

    struct State {
        var opening: Task<Result<String, StoreError>, Never>?
        /// The listing of jobs that has not begun yet.
        var nextLook: Task<Result<[VaultJob], StoreError>, Never>?
        var lookedAt: ContinuousClock.Instant?
        /// How long the latest listing of jobs took.
        var lookTook = Duration.zero
        /// Archives whose retrieval is being asked for.
        var asking: Set<String> = []
        var watch: Task<Void, Never>?
        var isAskingInventory = false
        /// Attempts to merge the inventory that is watched, which made no sense.
        var senselessMerges = 0
        var hasToldOfNames = false
    }

    /// Listings of the vault's jobs are this far apart at the least.
    private static let lookInterval = Duration.milliseconds(500)
    /// To a listing of names, jobs may be as they were so long ago, or twenty times as long as it takes to list them.
    private static let listedJobsAge = Duration.seconds(10)

    /// When the jobs are looked through after a lost reply, each time after the one before: nothing says how soon a
    /// new job is listed.
    private static let looksForLost: [Duration] = [.seconds(1), .seconds(3), .seconds(9)]

    package init(
        _ name: String, client: VaultClient, catalogue: Catalogue, log: Logger, partBytes: UInt64 = 512 << 20,
        sleep: @escaping RetryingStore.Sleep = RetryingStore.taskSleep,
        changed: @escaping @Sendable () async -> Void = {}
    ) {
        self.name = name
        self.client = client
        self.catalogue = catalogue
        self.log = log
        self.partBytes = partBytes
        self.sleep = sleep
        self.changed = changed
    }

    deinit { state.withLock { $0.watch }?.cancel() }

    // MARK: - Opening

    /// The vault's id, once it is open.
    func opened() async throws(StoreError) -> String {
        let opening = state.withLock { state in
            if let opening = state.opening { return opening }
            // A task of its own: a caller that is cancelled must not fail the others.
            let opening = Task { await self.open() }
            state.opening = opening
            return opening
        }
        switch await opening.value {
        case .success(let id): return id
        case .failure(let error):
            state.withLock { if $0.opening == opening { $0.opening = nil } }
            throw error
        }
    }

    private func open() async -> Result<String, StoreError> {
        do throws(StoreError) {
            let vault = try await client.vault(named: name)
            let jobs = try await look(at: vault.id)
            for archive in try await catalogue.pendingDeletions(of: vault.id) {
                await finishDeletion(archive, vault.id)
            }
            if try await !catalogue.isKnown(vault.id) { try await begin(vault, jobs) }
            if try await catalogue.inventory(of: vault.id) != nil { watchInventory(vault.id) }
            return .success(vault.id)
        } catch {
            return .failure(error)
        }
    }

    // MARK: - Names

    package func list(_ request: ListRequest) async throws(StoreError) -> ListPage {
        let vault = try await opened()
        let (lookedAt, lookTook) = state.withLock { ($0.lookedAt, $0.lookTook) }
        let isOld = lookedAt.map { $0 + max(Self.listedJobsAge, lookTook * 20) < .now } ?? true
        if isOld, try await catalogue.hasRetrievals(under: vault) { _ = try await look(at: vault) }
        let start = request.continuationToken.map { Catalogue.key(ofToken: $0) } ?? request.startAfter
        return try await catalogue.list(
            request.prefix, delimiter: request.delimiter, after: start, limit: request.keysMax, in: vault)
    }

    package func listVersions(_ request: VersionListRequest) async throws(StoreError) -> VersionPage {
        throw .unsupported("a vault has no versions")
    }

    package func head(_ key: ObjectKey, version: String?) async throws(StoreError) -> ObjectRecord {
        try await entry(key, version, in: try await current()).record
    }

    package func describe(_ key: ObjectKey, version: String?) async throws(StoreError) -> ObjectDescription {
        let entry = try await entry(key, version, in: try await current())
        return ObjectDescription(record: entry.record, headers: entry.headers)
    }

    /// A version is the archive that the name had.
    func entry(_ key: ObjectKey, _ version: String?, in vault: String) async throws(StoreError) -> CatalogueEntry {
        guard let entry = try await catalogue.entry(key, in: vault), version == nil || version == entry.archive else {
            throw StoreError(.noSuchKey, code: "NoSuchKey", message: "the vault's catalogue has no \(key)")
        }
        return entry
    }

    // MARK: - Content

    package func get(
        _ key: ObjectKey, version: String?, range: Range<UInt64>, ifMatch: String?, into sink: any ByteSink
    ) async throws(StoreError) -> ObjectRecord {
        let vault = try await opened()
        var entry = try await entry(key, version, in: vault)
        if let ifMatch, ifMatch != entry.etag {
            throw .conditionFailed(key)
        }
        guard !range.isEmpty, range.lowerBound < entry.sizeBytes else {
            throw StoreError(.invalidRange, code: "InvalidRange", message: "\(key) has no bytes \(range)")
        }
        let wanted = range.clamped(to: 0..<entry.sizeBytes)
        guard let archive = entry.archive else {
            let content = entry.content ?? []
            guard wanted.upperBound <= UInt64(content.count) else { throw .nonsense("the catalogue lost \(key)") }
            let isTaken = content.withUnsafeBytes { bytes in
                sink.receive(UnsafeRawBufferPointer(rebasing: bytes[Int(wanted.lowerBound)..<Int(wanted.upperBound)]))
            }
            guard isTaken else { throw .cancelled }
            return entry.record
        }
        if let known = entry.retrieval, known.state != .succeeded {
            _ = try await look(at: vault)
            entry = try await self.entry(key, version, in: vault)
        }
        guard let retrieval = entry.retrieval, retrieval.state == .succeeded, let job = retrieval.job else {
            throw Self.frozen("\(key) has no retrieval job that is finished")
        }
        do throws(StoreError) {
            _ = try await client.output(
                of: job, in: vault, range: wanted, totalBytes: entry.sizeBytes, into: sink)
        } catch {
            // The output is gone, or there never was one; whatever was known of it is wrong.
            guard error.kind == .noSuchKey || error.kind == .invalidObjectState else { throw error }
            try await catalogue.dropRetrieval(of: archive, job: job)
            var error = error
            error.kind = .invalidObjectState
            throw error
        }
        return entry.record
    }

    static func frozen(_ message: String) -> StoreError {
        StoreError(.invalidObjectState, code: "InvalidObjectState", message: message)
    }

    // MARK: - Restoring

    package func restore(
        _ key: ObjectKey, version: String?, _ order: RestoreOrder
    ) async throws(StoreError) -> RestoreReply {
        let vault = try await opened()
        let entry = try await entry(key, version, in: vault)
        guard let archive = entry.archive else {
            throw StoreError(.notArchived, code: "NoArchive", message: "\(key) is in the catalogue only")
        }
        // Names of one archive may be asked for at once.
        guard state.withLock({ $0.asking.insert(archive).inserted }) else { return .alreadyInProgress }
        defer { state.withLock { _ = $0.asking.remove(archive) } }
        // What was asked for and never answered may be under way: the jobs tell.
        var known = try await catalogue.retrieval(of: archive)
        if let last = known, last.state == .asked || last.hasLapsed {
            _ = try await look(at: vault)
            known = try await catalogue.retrieval(of: archive)
        }
        switch known {
        case .some(let known) where known.state == .inProgress: return .alreadyInProgress
        case .some(let known) where known.state == .succeeded && !known.hasLapsed: return .alreadyRestored
        default: break
        }
        try await catalogue.setRetrieval(Retrieval(job: nil, state: .asked), of: archive, in: vault)
        let job: String
        do throws(StoreError) {
            job = try await client.startJob(.retrieve(archive: archive), in: vault)
        } catch {
            let found = try await lookForJob(after: error) { () async throws(StoreError) in
                // A look that fails tells nothing.
                _ = try? await look(at: vault)
                return try await catalogue.retrieval(of: archive).flatMap { $0.state == .asked ? nil : $0 }
            }
            if found != nil { return .alreadyInProgress }
            if !error.isTransient && error.kind != .cancelled { try await catalogue.dropRetrieval(of: archive) }
            throw error
        }
        try await catalogue.setRetrieval(Retrieval(job: job, state: .inProgress), of: archive, in: vault)
        return .started
    }

    /// What comes of looking for a job whose reply was lost: it may be listed a little later. It must not be asked for
    /// again before, since each job is paid for. Nil also after an error that says that there is none.
    func lookForJob<Found>(
        after error: StoreError, _ look: () async throws(StoreError) -> Found?
    ) async throws(StoreError) -> Found? {
        guard error.mayFollowSuccess, error.kind != .throttled else { return nil }
        log.notice("the reply to a job of \(name) was lost, looking for the job: \(error)")
        for delay in Self.looksForLost {
            do throws(CancellationError) { try await sleep(delay) } catch { return nil }
            if let found = try await look() { return found }
        }
        return nil
    }

    package func refreeze(_ key: ObjectKey, version: String?) async throws(StoreError) {
        throw .unsupported("OAS keeps the output of a job until it lapses")
    }

    package func archiveDirectRead() async throws(StoreError) -> Bool { false }

    // MARK: - Jobs

    /// The vault's id, with what is known of its jobs up to date as far as any is under way.
    private func current() async throws(StoreError) -> String {
        let vault = try await opened()
        if try await catalogue.hasRetrievals(under: vault) { _ = try await look(at: vault) }
        return vault
    }

    /// Lists the vault's jobs and takes in what they say. Whoever asks gets a listing that begins after it was asked
    /// for, and shares it with others.
    @discardableResult
    func look(at vault: String) async throws(StoreError) -> [VaultJob] {
        let look = state.withLock { state in
            if let next = state.nextLook { return next }
            let time = state.lookedAt.map { $0 + Self.lookInterval }
            let next = Task { await self.look(at: vault, from: time) }
            state.nextLook = next
            return next
        }
        return try await look.value.get()
    }

    private func look(at vault: String, from time: ContinuousClock.Instant?) async -> Result<[VaultJob], StoreError> {
        // Nobody cancels this task.
        if let time, time > .now { try? await Task.sleep(until: time, clock: .continuous) }
        let start = Timestamp.now()
        let asking = state.withLock { state in
            state.nextLook = nil
            state.lookedAt = .now
            return state.asking
        }
        do throws(StoreError) {
            let jobs = try await client.jobs(of: vault)
            try await catalogue.take(jobs, of: vault, listedAt: start, sparing: asking)
            state.withLock { state in state.lookTook = state.lookedAt.map { $0.duration(to: .now) } ?? .zero }
            return .success(jobs)
        } catch {
            return .failure(error)
        }
    }
}
