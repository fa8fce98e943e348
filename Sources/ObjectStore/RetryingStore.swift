package import Logging
package import ThawCore
import Synchronization
package import Wire

/// Sends again what may succeed then, for every store alike: at most five times, waiting longer each time.
///
/// Waits are drawn evenly from nothing to a ceiling that doubles (full jitter), so that clients who failed
/// together do not come back together. A delay that the store names is kept, and given up on when it is too
/// long.
package struct RetryingStore: ObjectStore {
    package struct Policy: Sendable {
        package var attemptsMax = 5
        package var baseDelay = Duration.milliseconds(200)
        package var delayMax = Duration.seconds(20)
        /// A store that asks for more patience than this is given up on.
        package var namedDelayMax = Duration.seconds(60)
        package init() {}
    }

    /// Waits, and throws when the task is cancelled meanwhile.
    package typealias Sleep = @Sendable (Duration) async throws(CancellationError) -> Void

    let store: any ObjectStore
    private let policy: Policy
    private let logger: Logger
    private let sleep: Sleep

    package init(
        _ store: any ObjectStore,
        policy: Policy = Policy(),
        logger: Logger,
        sleep: @escaping Sleep = taskSleep
    ) {
        self.store = store
        self.policy = policy
        self.logger = logger
        self.sleep = sleep
    }

    package var hasFixedTopLevel: Bool { store.hasFixedTopLevel }
    package var copiesFrozen: Bool { store.copiesFrozen }
    package var dialect: Dialect { store.dialect }

    package func list(_ request: ListRequest) async throws(StoreError) -> ListPage {
        try await retrying("list", request.prefix) { () async throws(StoreError) in
            try await store.list(request)
        }
    }

    package func listVersions(_ request: VersionListRequest) async throws(StoreError) -> VersionPage {
        try await retrying("listVersions", request.prefix) { () async throws(StoreError) in
            try await store.listVersions(request)
        }
    }

    package func head(_ key: ObjectKey, version: String?) async throws(StoreError) -> ObjectRecord {
        try await retrying("head", key) { () async throws(StoreError) in
            try await store.head(key, version: version)
        }
    }

    /// Sent once, unless the clock was wrong: the restore engine keeps to the provider's pace, and sends again by
    /// itself what may succeed then.
    package func restore(
        _ key: ObjectKey,
        version: String?,
        _ order: RestoreOrder
    ) async throws(StoreError) -> RestoreReply {
        do throws(StoreError) {
            return try await store.restore(key, version: version, order)
        } catch {
            guard error.kind == .clockSkew else { throw error }
            return try await store.restore(key, version: version, order)
        }
    }

    package func refreeze(_ key: ObjectKey, version: String?) async throws(StoreError) {
        try await retrying("refreeze", key) { () async throws(StoreError) in
            try await store.refreeze(key, version: version)
        }
    }

    package func archiveDirectRead() async throws(StoreError) -> Bool {
        try await retrying("archiveDirectRead", .empty) { () async throws(StoreError) in
            try await store.archiveDirectRead()
        }
    }

    package func refresh(below prefix: ObjectKey) async throws(StoreError) {
        try await retrying("refresh", prefix) { () async throws(StoreError) in
            try await store.refresh(below: prefix)
        }
    }

    /// A backup policy is created once only: whoever gets no answer looks before he asks again.
    package func perform(
        _ operation: ConfigurationOperation, on configuration: BucketConfiguration, of place: ObjectKey
    ) async throws(StoreError) -> [UInt8] {
        var isSentOnce = false
        if case .put = operation { isSentOnce = configuration.kind == .backupPolicies }
        var mayBeDeleted = false
        return try await retrying("perform", place) { () async throws(StoreError) in
            do throws(StoreError) {
                return try await store.perform(operation, on: configuration, of: place)
            } catch {
                if mayBeDeleted, error.kind == .noSuchConfiguration { return [] }
                if case .delete = operation { mayBeDeleted = mayBeDeleted || error.mayFollowSuccess }
                throw error
            }
        } unless: {
            isSentOnce
        }
    }

    /// Goes on from the byte that was reached. Without `ifMatch` or a version nothing ensures that the rest
    /// is of the same object, so a read that has delivered something is then not resumed.
    package func get(
        _ key: ObjectKey,
        version: String?,
        range: Range<UInt64>,
        ifMatch: String?,
        into sink: any ByteSink
    ) async throws(StoreError) -> ObjectRecord {
        let counted = CountingSink(sink)
        let isPinned = ifMatch != nil || version != nil
        return try await retrying("get", key) { () async throws(StoreError) in
            try await store.get(
                key,
                version: version,
                range: (range.lowerBound + counted.bytes)..<range.upperBound,
                ifMatch: ifMatch,
                into: counted
            )
        } unless: {
            let bytes = counted.bytes
            return bytes > 0 && (!isPinned || bytes >= range.count)
        }
    }

    /// - Parameters:
    ///   - sendsAgain: whether bytes that arrived wrong are worth another attempt
    ///   - isFinal: whether a failure cannot be made good by another attempt, whatever its kind
    func retrying<Value: Sendable>(
        _ operation: StaticString,
        _ key: ObjectKey,
        sendsAgain: Bool = false,
        _ body: () async throws(StoreError) -> Value,
        unless isFinal: () -> Bool = { false }
    ) async throws(StoreError) -> Value {
        var ceiling = policy.baseDelay
        var attempt = 1
        var hasCorrectedClock = false
        while true {
            let failure: StoreError
            do {
                return try await body()
            } catch {
                failure = error
            }
            guard failure.isTransient || sendsAgain && failure.kind == .corrupted, !isFinal() else { throw failure }
            let isHopeless = failure.kind == .clockSkew && hasCorrectedClock
            let named = failure.retryAfter ?? .zero
            guard attempt < policy.attemptsMax, !isHopeless, named <= policy.namedDelayMax else {
                logger.debug("\(operation) \(key): given up after \(attempt) attempts: \(failure)")
                throw failure
            }
            if failure.kind == .clockSkew {
                // The store below has set its clock by the reply; there is nothing to wait for.
                hasCorrectedClock = true
            } else {
                try await pause(max(named, ceiling * Double.random(in: 0...1)))
                ceiling = min(ceiling * 2, policy.delayMax)
            }
            attempt += 1
        }
    }

    private func pause(_ delay: Duration) async throws(StoreError) {
        do {
            try await sleep(delay)
        } catch {
            throw .cancelled
        }
    }

    package static let taskSleep: Sleep = { delay throws(CancellationError) in
        do {
            try await Task.sleep(for: delay)
        } catch {
            // All that a sleeping task can throw.
            throw CancellationError()
        }
    }
}

/// Counts what its receiver has taken.
private final class CountingSink: ByteSink {
    private let sink: any ByteSink
    private let count = Atomic<UInt64>(0)

    init(_ sink: any ByteSink) { self.sink = sink }

    var bytes: UInt64 { count.load(ordering: .acquiring) }

    func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard sink.receive(bytes) else { return false }
        count.wrappingAdd(UInt64(bytes.count), ordering: .acquiringAndReleasing)
        return true
    }
}
