package import Logging
package import Metadata
package import ObjectStore
package import ThawCore

/// The restore jobs whose target is a directory of a mounted bucket: remembered before they are made, made once, also
/// through a crash, and followed until they end.
///
/// One task does all of it, in rounds: it makes what is wished for, cancels what is to be cancelled, looks at what is
/// under way, and rests. It ends when nothing is left to be done.
package actor BackupRestores {
    private let client: BackupClient
    private let bucket: String
    private let writer: MetadataWriter
    private let log: Logger
    private let sleep: RetryingStore.Sleep
    /// Told when something may have appeared below a directory.
    private let arrived: @Sendable (_ prefix: ObjectKey) async -> Void

    /// By id. Those of one directory are of one wish.
    private var rows: [Int64: BackupRow] = [:]
    private var progress: [Int64: Double] = [:]
    /// Rows whose job may have been made without our knowing its id: the jobs that were there before, and are not it.
    private var mayBeMade: [Int64: Set<String>] = [:]
    /// Looks in a row that did not find the job.
    private var misses: [Int64: Int] = [:]
    /// Directories whose wish is being remembered.
    private var beginning: Set<ObjectKey> = []
    private var work: Task<Void, Never>?
    private var rest: Task<Void, Never>?
    private var isWoken = false
    private var lookedAt = ContinuousClock.now
    /// The code of what the latest round failed with.
    private var lastFailure: String?

    package init(
        client: BackupClient, bucket: String, writer: MetadataWriter, log: Logger,
        sleep: @escaping RetryingStore.Sleep = RetryingStore.taskSleep,
        arrived: @escaping @Sendable (_ prefix: ObjectKey) async -> Void
    ) {
        self.client = client
        self.bucket = bucket
        self.writer = writer
        self.log = log
        self.sleep = sleep
        self.arrived = arrived
    }

    /// How long the attribute tells how a restore has ended.
    private static let remembered = Duration.seconds(7 * 86_400)
    /// Whoever asks how it stands has it looked at anew when the latest look was this long ago.
    private static let freshness = Duration.seconds(5)
    private static let restMin = Duration.seconds(2)
    private static let restMax = Duration.seconds(300)
    /// Looks after which a job that is not listed is given up. Those at a young one are two seconds apart.
    private static let missesMax = 30

    /// Takes up what an earlier mount left.
    package func resume() async throws(MetadataError) {
        for row in try await writer.backups(endedSince: .now() - Self.remembered) {
            rows[row.id] = row
            if row.job == nil { mayBeMade[row.id] = [] }
        }
        wake()
    }

    // MARK: Asking

    /// Restores a snapshot, or a part of it, into the directory. Answers once that is a promise; the job is made after
    /// that. Wishing once more for what is under way does nothing.
    package func begin(_ wish: BackupWish, below prefix: ObjectKey) async throws(BackupRefusal) {
        guard let path = String(validating: prefix.bytes, as: UTF8.self) else {
            throw .invalid("the directory's name is no text, which is all that Cloud Backup takes")
        }
        let whole = SnapshotRestore(
            vault: wish.vault, snapshot: wish.snapshot, target: .bucket(bucket, prefix: path), include: wish.include,
            exclude: wish.exclude)
        let parts: [SnapshotRestore]
        do throws(BackupError) { parts = try whole.parts() } catch { throw .invalid(error.message) }
        let now = client.now
        let wished = parts.map {
            BackupRow(
                prefix: prefix, vault: $0.vault, snapshot: $0.snapshot, include: $0.include, exclude: $0.exclude,
                wishedAt: now)
        }
        let before = rows(of: prefix)
        if before.contains(where: { $0.stage != .ended }) {
            guard before.map(part) == parts, before.allSatisfy({ $0.stage != .cancelling }) else { throw .busy }
            return log.info("\(prefix) is being restored from \(whole.title) already")
        }
        guard beginning.insert(prefix).inserted else { throw .busy }
        defer { beginning.remove(prefix) }
        do throws(MetadataError) {
            let kept = try await writer.wish(wished, below: prefix)
            for row in before { forget(row.id) }
            for row in kept { rows[row.id] = row }
        } catch {
            throw .notRemembered("\(error)")
        }
        log.info("restoring \(whole.title) into \(prefix)")
        wake()
    }

    /// Cancels what is under way for the directory; when nothing is, forgets how the last one has ended. Answers
    /// false when there is neither.
    package func cancel(below prefix: ObjectKey) async throws(BackupRefusal) -> Bool {
        let known = rows(of: prefix)
        if known.isEmpty { return false }
        do throws(MetadataError) {
            if known.allSatisfy({ $0.stage == .ended }) {
                try await writer.dropBackups(below: prefix)
                for row in known { forget(row.id) }
            }
            for var row in known where row.stage != .ended {
                row.stage = .cancelling
                try await writer.update(row)
                rows[row.id]?.stage = .cancelling
            }
        } catch {
            throw .notRemembered("\(error)")
        }
        wake()
        return true
    }

    /// How the restore into the directory stands, as `user.thaw.restore` shows it; nil when there is none.
    package func standing(of prefix: ObjectKey) -> BackupStanding? {
        let known = rows(of: prefix)
        if known.contains(where: { $0.stage != .ended }), ContinuousClock.now - lookedAt > Self.freshness { wake() }
        return BackupStanding(known.map { ($0, progress[$0.id] ?? 0) })
    }

    private func rows(of prefix: ObjectKey) -> [BackupRow] {
        rows.values.filter { $0.prefix == prefix }.sorted { $0.id < $1.id }
    }

    private func part(_ row: BackupRow) -> SnapshotRestore {
        SnapshotRestore(
            vault: row.vault, snapshot: row.snapshot,
            target: .bucket(bucket, prefix: String(decoding: row.prefix.bytes, as: UTF8.self)), include: row.include,
            exclude: row.exclude)
    }

    private func forget(_ id: Int64) {
        rows[id] = nil
        progress[id] = nil
        misses[id] = nil
        mayBeMade[id] = nil
    }

    // MARK: Working

    private var isAnythingLeft: Bool { rows.values.contains { $0.stage != .ended } }

    /// There is something to be done, or to be looked at, now.
    private func wake() {
        isWoken = true
        rest?.cancel()
        guard work == nil, isAnythingLeft else { return }
        work = Task { await run() }
    }

    private func run() async {
        while isAnythingLeft {
            if !isWoken {
                let nap = Task { [sleep = self.sleep, delay = self.delay] in _ = try? await sleep(delay) }
                rest = nap
                await nap.value
            }
            isWoken = false
            let failures = await workOnAll()
            // The mount is stopping; the next one goes on.
            if failures.contains(where: { $0.kind == .cancelled }) { break }
            if let error = failures.first, error.code != lastFailure {
                log.warning("restores from backups are held up, and tried again: \(error)")
            }
            lastFailure = failures.first?.code
        }
        work = nil
    }

    /// One that fails holds up no other.
    private func workOnAll() async -> [BackupError] {
        var failures: [BackupError] = []
        for id in rows.keys.sorted() {
            do throws(BackupError) {
                switch rows[id]?.stage {
                case .wished: try await make(id)
                case .cancelling: try await cancel(id)
                default: break
                }
            } catch {
                failures.append(error)
                if error.kind == .cancelled { return failures }
            }
        }
        return failures + (await look())
    }

    /// The longer ago the youngest wish is, the longer.
    private var delay: Duration {
        let wished = rows.values.filter { $0.stage != .ended }.map(\.wishedAt).max() ?? .epoch
        return min(max((client.now - wished) / 10, Self.restMin), Self.restMax)
    }

    /// Makes the job, or finds it. What may succeed later is left as it is.
    private func make(_ id: Int64) async throws(BackupError) {
        guard let row = rows[id] else { return }
        do throws(BackupError) {
            let there = try await client.jobs(doing: part(row))
            // It may have been cancelled meanwhile, here and until the job is made.
            guard isWished(id) else { return }
            let job: String
            if let found = there.first(where: { !$0.status.isEnded && !$0.status.hasFailed || mayBeOf(row, $0) }) {
                job = found.id
                log.info("restore job \(job) is there, and restores \(part(row).title) into \(row.prefix)")
            } else {
                let known = Set(there.map(\.id))
                if mayBeMade[id] == nil { mayBeMade[id] = known }
                let made = try await client.make(part(row), besides: known) { await self.isWished(id) }
                guard let made else { return }
                job = made
                log.info("restore job \(job) restores \(part(row).title) into \(row.prefix)")
            }
            await change(id) {
                $0.job = job
                if $0.stage == .wished { $0.stage = .underWay }
            }
        } catch {
            guard error.kind != .cancelled, !error.isTransient else { throw error }
            await end(id, status: nil, error: "\(error)")
        }
    }

    private func isWished(_ id: Int64) -> Bool { rows[id]?.stage == .wished }

    /// Whether the job may be the one that was made for the row, and whose id was never heard of.
    private func mayBeOf(_ row: BackupRow, _ job: RestoreJob) -> Bool {
        guard let known = mayBeMade[row.id] else { return false }
        return !known.contains(job.id) && job.createdAt >= row.wishedAt - BackupClient.clockTolerance
    }

    private func cancel(_ id: Int64) async throws(BackupError) {
        guard let row = rows[id] else { return }
        guard let job = try await job(of: row) else { return await end(id, status: .cancelled, error: nil) }
        if row.status == RestoreJob.Status.cancelling.name { return }
        do throws(BackupError) {
            try await client.cancel(job, vault: row.vault)
            rows[id]?.status = RestoreJob.Status.cancelling.name
        } catch {
            // It may have ended just now: the look that follows tells.
            guard error.kind == .notFound || error.kind == .invalid else { throw error }
            log.info("restore job \(job) was not cancelled: \(error)")
        }
    }

    /// The id of its job; nil when none was made.
    private func job(of row: BackupRow) async throws(BackupError) -> String? {
        if let job = row.job { return job }
        guard mayBeMade[row.id] != nil else { return nil }
        let found = try await client.jobs(doing: part(row)).first { mayBeOf(row, $0) }
        if let found { await change(row.id) { $0.job = found.id } }
        return found?.id
    }

    /// Answers what went wrong.
    private func look() async -> [BackupError] {
        var failures: [BackupError] = []
        let followed = rows.values.filter { $0.job != nil && $0.stage != .ended }
        for (vault, rows) in Dictionary(grouping: followed, by: \.vault) {
            let jobs: [RestoreJob]
            do throws(BackupError) {
                jobs = try await client.jobs(Set(rows.compactMap(\.job)), .oss, vault: vault)
            } catch {
                failures.append(error)
                if error.kind == .cancelled { return failures }
                continue
            }
            for row in rows.sorted(by: { $0.id < $1.id }) {
                if let job = jobs.first(where: { $0.id == row.job }) {
                    await take(job, for: row.id)
                } else {
                    await miss(row.id)
                }
            }
        }
        lookedAt = .now
        return failures
    }

    private func take(_ job: RestoreJob, for id: Int64) async {
        misses[id] = nil
        progress[id] = job.progress
        guard job.status.isEnded else {
            if rows[id]?.stage != .cancelling { rows[id]?.status = job.status.name }
            return
        }
        var error = job.errorMessage
        if error == nil, job.status == .failed || job.status == .expired { error = job.status.name }
        await end(id, status: job.status, error: error, errorFile: job.errorFile)
    }

    private func miss(_ id: Int64) async {
        misses[id, default: 0] += 1
        guard misses[id, default: 0] >= Self.missesMax else { return }
        await end(id, status: nil, error: "JobNotListed: Cloud Backup does not list the job any more")
    }

    private func end(_ id: Int64, status: RestoreJob.Status?, error: String?, errorFile: String? = nil) async {
        await change(id) {
            $0.stage = .ended
            $0.status = status?.name ?? RestoreJob.Status.failed.name
            $0.error = error
            $0.errorFile = errorFile
            $0.endedAt = .now()
        }
        guard let row = rows[id] else { return }
        let place = "\(part(row).title) into \(row.prefix)" + (row.job.map { " (job \($0))" } ?? "")
        switch status {
        case .complete?: log.info("restored \(place)")
        case .cancelled?: log.notice("the restore of \(place) was cancelled")
        case .partlyComplete?:
            log.warning("restored not all of \(place); what is missing is in \(errorFile ?? "no error file") \(error ?? "")")
        default: log.error("the restore of \(place) failed: \(error ?? "no reason given")")
        }
        await arrived(row.prefix)
    }

    private func change(_ id: Int64, _ body: (inout BackupRow) -> Void) async {
        guard var row = rows[id] else { return }
        body(&row)
        rows[id] = row
        do throws(MetadataError) { try await writer.update(row) } catch {
            log.error("how the restore into \(row.prefix) stands cannot be remembered: \(error)")
        }
    }
}

extension SnapshotRestore {
    /// For people.
    package var title: String { "snapshot \(snapshot.printable) of vault \(vault.printable)" }
}
