import Synchronization
import ThawCore
import Wire

/// Cloud Backup's vaults, their snapshots and restore jobs, as the control endpoint made them. In memory only.
///
/// Jobs go by the virtual clock; what one has restored is in its bucket before anybody is told that it is complete.
final class Backups: Sendable {
    struct Vault: Sendable {
        var id: String
        var name: String
        var created: Timestamp
    }

    struct File: Sendable {
        var path: String
        var content: Content

        enum Content: Sendable {
            case bytes([UInt8])
            case madeUp(sizeBytes: UInt64)
        }

        var sizeBytes: UInt64 {
            switch content {
            case .bytes(let bytes): UInt64(bytes.count)
            case .madeUp(let size): size
            }
        }
    }

    struct Snapshot: Sendable {
        var id: String
        var hash: String
        var vault: String
        var type: String
        /// The bucket, instance or file system that was backed up.
        var origin: String
        var created: Timestamp
        var files: [File]
        /// How long a restore of it runs.
        var duration: Duration
        /// How it ends: `COMPLETE`, `PARTIAL_COMPLETE` or `FAILED`.
        var ending: String
        /// Of one that is not complete.
        var error: String
        /// Paths that are not restored.
        var failing: Set<String>
    }

    struct Job: Sendable {
        var id: String
        var parameters: [String: String]
        var snapshot: Snapshot
        var created: Timestamp
        var cancelled: Timestamp?
        /// Why nothing could be written.
        var failure: String?
        /// Its files are written, as far as they are.
        var isSettled = false
    }

    struct State: Sendable {
        var vaults: [Vault] = []
        var snapshots: [Snapshot] = []
        var jobs: [Job] = []
        var nonces: Set<String> = []
    }

    private let state = Mutex(State())

    func withState<Result: Sendable>(
        _ body: (inout State) throws(ProviderError) -> Result
    ) throws(ProviderError) -> Result {
        try state.withLock { state throws(ProviderError) in try body(&state) }
    }

    /// Writes the files of all jobs whose time has come.
    func settle(at now: Timestamp, _ write: (Job, [File]) throws(ProviderError) -> Void) {
        state.withLock { state in
            for index in state.jobs.indices where !state.jobs[index].isSettled && state.jobs[index].isDue(at: now) {
                state.jobs[index].isSettled = true
                let job = state.jobs[index]
                guard job.snapshot.ending != "FAILED", job.parameters["RestoreType"] == "OSS" else { continue }
                do throws(ProviderError) {
                    try write(job, job.files.filter { !job.snapshot.failing.contains($0.path) })
                } catch {
                    state.jobs[index].failure = "\(error.code): \(error.message)"
                }
            }
        }
    }
}

extension Backups.Job {
    private static let queuedAfter = Duration.seconds(5)
    private static let runningAfter = Duration.seconds(10)
    private static let cancelsFor = Duration.seconds(5)

    private var started: Timestamp { created + Self.runningAfter }
    private var ready: Timestamp { started + snapshot.duration }

    func isDue(at now: Timestamp) -> Bool { now >= ready && (cancelled.map { $0 >= ready } ?? true) }

    func status(at now: Timestamp) -> String {
        if isSettled { return failure == nil ? snapshot.ending : "FAILED" }
        if let cancelled { return now < cancelled + Self.cancelsFor ? "CANCELING" : "CANCELED" }
        return now < created + Self.queuedAfter ? "CREATED" : now < started ? "QUEUED" : "RUNNING"
    }

    /// 0...1
    func progress(at now: Timestamp) -> Double {
        if isSettled { return 1 }
        let elapsed = (min(now, cancelled ?? now) - started).secondsRounded
        return min(max(elapsed / max(snapshot.duration.secondsRounded, 0.001), 0), 1)
    }

    func ended(at now: Timestamp) -> Timestamp? {
        if isSettled { return ready }
        return cancelled.flatMap { now < $0 + Self.cancelsFor ? nil : $0 + Self.cancelsFor }
    }

    /// What it restores: the files under its `Include`, or all, without those under its `Exclude`.
    var files: [Backups.File] {
        let include = Self.patterns(parameters["Include"]) ?? [], exclude = Self.patterns(parameters["Exclude"]) ?? []
        return snapshot.files.filter { file in
            (include.isEmpty || include.contains { PathPattern($0).matches(file.path) })
                && !exclude.contains { PathPattern($0).matches(file.path) }
        }
    }

    /// Nil for what is no array of texts.
    static func patterns(_ text: String?) -> [String]? {
        guard let text, !text.isEmpty else { return [] }
        guard let elements = JSON(Array(text.utf8))?.array else { return nil }
        let patterns = elements.compactMap(\.string)
        return patterns.count == elements.count ? patterns : nil
    }

    /// The object that a file becomes: prefix and path with one slash between them.
    func key(of file: Backups.File) -> ObjectKey {
        var prefix = parameters["TargetPrefix"] ?? ""
        if !prefix.isEmpty, !prefix.hasSuffix("/") { prefix += "/" }
        return ObjectKey(prefix + file.path.drop { $0 == "/" })
    }
}
