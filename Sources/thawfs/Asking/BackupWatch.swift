import ArgumentParser
import Backup
import ObjectStore
import ThawCore
import Wire

/// Follows restore jobs of Cloud Backup, and shows how far they are. They go on whether or not anybody does.
struct BackupWatch {
    let client: BackupClient
    let vault: String
    let type: BackupType
    let ids: [String]
    /// Looks that may find one of them not listed.
    private let missesMax: Int
    private let sleep: RetryingStore.Sleep
    private static let interval = Duration.seconds(3)
    /// Of jobs that were made just now: half a minute.
    private static let missesMaxOfNew = 10

    init(
        client: BackupClient, vault: String, type: BackupType, ids: [String], areNew: Bool = false,
        sleep: @escaping RetryingStore.Sleep = RetryingStore.taskSleep
    ) {
        self.client = client
        self.vault = vault
        self.type = type
        self.ids = ids
        missesMax = areNew ? Self.missesMaxOfNew : 0
        self.sleep = sleep
    }

    /// The jobs, in the order in which they were named.
    func look() async throws -> [RestoreJob] {
        let found = try await client.jobs(Set(ids), type, vault: vault)
        return try ids.map { id in
            guard let job = found.first(where: { $0.id == id }) else {
                throw UsageError("vault \(vault) has no restore job \(id)")
            }
            return job
        }
    }

    /// The jobs in the order in which they were named, of those that are not in `jobs` the ids.
    func documents(of jobs: [RestoreJob]) -> JSON {
        .array(ids.map { id in jobs.first { $0.id == id }?.json ?? ["id": .string(id)] })
    }

    /// Returns when all have ended well; else it says why not, and exits with a status that tells it.
    ///
    /// - Parameter limit: nil for ever
    func run(limit: Duration?, json: Bool) async throws {
        let display = ProgressDisplay(environment: currentEnvironment())
        let later = "watch: thawfs backup jobs --vault \(vault) \(ids.joined(separator: " ")) --wait; "
            + "cancel: thawfs backup cancel --vault \(vault) \(ids.joined(separator: " "))"
        let stop = StopSignals()
        let watching = Task { try await watch(display, limit) }
        let listening = Task {
            await stop.wait()
            watching.cancel()
        }
        defer { listening.cancel() }
        let jobs: [RestoreJob]
        do {
            jobs = try await watching.value
        } catch is CancellationError {
            printError("no longer watching; the restore goes on. \(later)")
            throw ExitCode(130)
        } catch let error as BackupError where error.kind == .cancelled {
            printError("no longer watching; the restore goes on. \(later)")
            throw ExitCode(130)
        }
        if json { printDocument(["jobs": documents(of: jobs)]) }
        guard jobs.count == ids.count, jobs.allSatisfy(\.status.isEnded) else {
            printError("not all is restored yet, and the restore goes on. \(later)")
            throw ExitCode(124)
        }
        if !json { printLines([BackupProgress(jobs).line]) }
        let shortfalls = jobs.compactMap(\.shortfall)
        for shortfall in shortfalls { printError(shortfall) }
        if !shortfalls.isEmpty { throw ExitCode.failure }
    }

    /// Looks until all have ended or the time is up, through failures that pass. Answers what was seen last, nothing
    /// if that was nothing.
    func watch(_ display: ProgressDisplay, _ limit: Duration?) async throws -> [RestoreJob] {
        var display = display
        var jobs: [RestoreJob] = []
        var shown: BackupProgress?
        var (misses, lastFailure) = (0, "")
        defer { display.end() }
        let deadline = limit.map { ContinuousClock.now + $0 }
        while true {
            do {
                jobs = try await look()
                let progress = BackupProgress(jobs)
                display.show(isNews: progress != shown, line: progress.line) { progress.bar(width: $0) }
                shown = progress
                if jobs.allSatisfy(\.status.isEnded) { return jobs }
            } catch let error as BackupError where error.isTransient {
                if error.code != lastFailure {
                    display.end()
                    printNote("Cloud Backup cannot be asked, will try again: \(error)")
                }
                lastFailure = error.code
            } catch is UsageError where misses < missesMax {
                misses += 1
            }
            let rest = deadline.map { ContinuousClock.now.duration(to: $0) } ?? Self.interval
            if rest <= .zero { return jobs }
            try await sleep(min(rest, Self.interval))
        }
    }
}

/// How far one or several jobs have come. Pure: the width is given.
struct BackupProgress: Equatable {
    private let title: String
    private let status: String
    private let fraction: Double
    private let bytesDone: UInt64
    private let bytesTotal: UInt64
    private let itemsDone: UInt64
    private let itemsTotal: UInt64

    init(_ jobs: [RestoreJob]) {
        title = jobs.count == 1 ? "job \(jobs[0].id)" : "\(jobs.count) jobs"
        // The one that is furthest behind speaks for all.
        let order = ["CREATED", "QUEUED", "CANCELING", "RUNNING", "FAILED", "EXPIRED", "CANCELED", "PARTIAL_COMPLETE"]
        let names = Set(jobs.map(\.status.name))
        status = order.first { names.contains($0) } ?? jobs.first.map { "\($0.status)" } ?? ""
        fraction = jobs.isEmpty ? 0 : jobs.reduce(0) { $0 + $1.progress } / Double(jobs.count)
        bytesDone = jobs.reduce(0) { $0 &+ $1.bytesDone }
        bytesTotal = jobs.reduce(0) { $0 &+ $1.bytesTotal }
        itemsDone = jobs.reduce(0) { $0 &+ $1.itemsDone }
        itemsTotal = jobs.reduce(0) { $0 &+ $1.itemsTotal }
    }

    private var percent: String { "\(Int((fraction * 100).rounded(.down)))%" }
    private var files: String { "\(Units.count(itemsDone))/\(Units.count(itemsTotal)) files" }
    private var bytes: String { "\(Units.text(bytes: bytesDone))/\(Units.text(bytes: bytesTotal))" }

    /// A whole sentence, for logs and pipes.
    var line: String { "\(title): \(status) \(percent), \(files), \(bytes)" }

    /// One line of a terminal that is never wider than `width`.
    func bar(width: Int) -> String {
        for text in ["\(percent)  \(files)  \(bytes)  \(status)", "\(percent)  \(files)", percent] {
            let cells = min(width - text.count - 3, Self.barMax)
            guard cells >= Self.barMin else { continue }
            let filled = Int((fraction * Double(cells)).rounded(.down))
            let blanks = String(repeating: "-", count: cells - filled)
            return "[" + String(repeating: "#", count: filled) + blanks + "] " + text
        }
        return String(percent.prefix(max(width, 0)))
    }

    private static let barMin = 6
    private static let barMax = 30
}

extension RestoreJob {
    /// Why one that has ended is no success.
    fileprivate var shortfall: String? {
        let reason = errorMessage.map { ": \($0)" } ?? ""
        switch status {
        case .complete: return nil
        case .partlyComplete:
            return "job \(id) has restored not all; what is missing is in \(errorFile ?? "no error file")\(reason)"
        default: return "job \(id) ended as \(status)\(reason)"
        }
    }

    /// Where it restores to, as `--to` names it.
    var place: String {
        if let bucket = targetBucket { return "oss://\(bucket)/\(targetPrefix)" }
        if let instance = targetInstance { return "ecs://\(instance)\(targetPath)" }
        return targetFileSystem.map { "nas://\($0)" } ?? ""
    }

    var json: JSON {
        [
            "id": .string(id), "vault": .string(vault), "snapshot": .string(snapshot), "type": .string(type),
            "status": .string(status.name), "progress": .number(progress), "bytes_done": JSON(bytesDone),
            "bytes_total": JSON(bytesTotal), "items_done": JSON(itemsDone), "items_total": JSON(itemsTotal),
            "created": JSON(createdAt.dateText), "completed": JSON(completedAt?.dateText), "to": .string(place),
            "include": .array(include.map { .string($0) }), "exclude": .array(exclude.map { .string($0) }),
            "error": JSON(errorMessage), "error_file": JSON(errorFile),
        ]
    }
}

extension Vault {
    var json: JSON {
        [
            "id": .string(id), "name": .string(name), "region": .string(region), "type": .string(type),
            "status": .string(status), "storage_class": .string(storageClass), "bytes": JSON(bytesDone),
            "created": JSON(createdAt?.dateText),
        ]
    }
}

extension Snapshot {
    var json: JSON {
        [
            "id": .string(id), "hash": JSON(hash), "vault": .string(vault), "type": .string(type),
            "status": .string(status), "from": .string(origin), "bytes": JSON(bytes), "items": JSON(items),
            "storage_class": .string(storageClass), "created": JSON(createdAt?.dateText),
            "completed": JSON(completedAt?.dateText), "expires": JSON(expiresAt?.dateText),
        ]
    }
}

extension Timestamp {
    /// To the second, as tables and documents have it.
    var dateText: String { WireDate.iso8601Seconds(self) }
}
