internal import Backup
package import Content
package import Logging
package import Metadata
package import ObjectStore
package import Restore
internal import Synchronization
package import ThawCore
package import Upload
package import Wire

/// A bucket as a tree of names: every operation, without a kernel.
///
/// Operations come in two forms. The plain ones (`…AtHand`) answer from memory, or by one look at a row of the metadata
/// store, and never wait for anybody; they are for the reader threads. The `async` ones ask the metadata store and the
/// object store. `Mount` tries the first and falls back to the second.
///
/// An operation's way down: inode table → metadata store (a directory at a time) → object store.
package final class Filesystem: Sendable {
    package struct Configuration: Sendable {
        /// Where the mount's root is; empty, or ends in `/`.
        package var prefix: ObjectKey = .empty
        /// The bucket's name, for what the log advises; nil for an account.
        package var bucket: String?
        /// How long metadata is trusted without asking; nil for ever.
        package var metadataTTL: Duration? = .seconds(60)
        /// What the metadata store was loaded from.
        package var report: LoadedReport?
        package var frozen = FrozenPolicy()
        /// `Mount` refuses every change.
        package var isReadOnly = false
        /// `close` returns once what was written is journalled; it is stored after that.
        package var writeBack = false
        /// For content that is stored through the mount; nil for the bucket's own.
        package var storageClass: StorageClass?
        /// The socket of the mount's daemon, the value of `user.thaw.control`.
        package var controlPath: String?

        package init() {}
    }

    let configuration: Configuration
    let store: any ObjectStore
    let writer: MetadataWriter
    let reader: MetadataReader
    let context: ArchiveContext
    let contents: ContentCache
    let inodes: InodeTable
    let openFiles = OpenFiles()
    let stagedFiles = StagedFiles()
    let moves = Moves()
    let staging: StagedFile.Context
    let deferred = DeferredAttributesTable()
    /// Until when the restored copies last whose objects' attributes are to be written before that.
    let deferredTimes = Mutex<[ObjectKey: Timestamp]>([:])
    let trees: TreeCopy
    let openDirectories = OpenDirectories()
    let pollers = Pollers()
    let log: Logger
    /// When the mount was made: the time that directories show.
    let mountedAt: Timestamp
    let root: Directory
    package let restores: RestoreEngine
    /// Nil where there is no Cloud Backup.
    let backups = Mutex<BackupRestores?>(nil)
    /// When each name of `restore_deny` was last told of in the log.
    let denials = Mutex<[String: Timestamp]>([:])
    private let lastReport = Mutex(Report(operation: "", key: .empty, code: "", time: .epoch))
    /// Set once the kernel is there.
    package let kernelCache = WeakReference<KernelCache>()

    package static let rootInode: UInt64 = 1

    package init(
        configuration: Configuration, store: any ObjectStore, context: ArchiveContext, contents: ContentCache,
        area: StagingArea, writer: MetadataWriter, reader: MetadataReader, inodeLimit: InodeLimit? = nil, log: Logger
    ) {
        self.configuration = configuration
        self.store = store
        self.context = context
        self.contents = contents
        self.writer = writer
        self.reader = reader
        self.log = log
        mountedAt = .now()
        root = Directory(prefix: configuration.prefix, inode: Self.rootInode, parent: nil)
        inodes = InodeTable(root: root, at: mountedAt, openFiles: openFiles, limit: inodeLimit)
        let reference = WeakReference<Filesystem>()
        var settings = RestoreEngine.Settings()
        settings.days = configuration.frozen.days
        settings.budget = configuration.frozen.budget
        settings.ahead = configuration.frozen.ahead
        trees = TreeCopy(store: store, writer: writer, log: log)
        var staging = StagedFile.Context(
            store: store, area: area, contents: contents, writer: writer, storageClass: configuration.storageClass,
            log: log, storing: { key in await reference.value?.storing(key) },
            stored: { file, key, record in await reference.value?.stored(file, key, record) },
            postpone: { key, record, attributes throws(UploadError) in
                try await reference.value?.postpone(key, record, attributes)
            },
            settled: { file in await reference.value?.settled(file) })
        let isArchived = configuration.storageClass?.archiveRules(store.dialect) != nil
        staging.sendsAhead = !configuration.writeBack && !isArchived
        self.staging = staging
        restores = RestoreEngine(
            store: store, context: context, writer: writer, reader: reader, settings: settings, log: log,
            learned: { news in await reference.value?.learned(news) },
            ended: { key, version, failure in
                reference.value?.restoreEnded(key, version: version, failure)
            })
        reference.value = self
    }

    /// Takes up the restores that an earlier mount left under way.
    package func resumeRestores() async throws(MetadataError) { try await restores.resume() }

    // MARK: Freshness

    func isFresh(_ checkedAt: Timestamp, at now: Timestamp = .now()) -> Bool {
        let checkedAt = trustedSince(checkedAt)
        guard checkedAt > .epoch, !checkedAt.isAhead(of: now) else { return false }
        guard let ttl = configuration.metadataTTL else { return true }
        return now < checkedAt + ttl
    }

    /// For how many seconds from now the kernel may trust what was checked then.
    package func validSeconds(_ checkedAt: Timestamp) -> Double {
        // The kernel takes a day as well as for ever, and a refresh through the mount tells it anyway.
        guard let ttl = configuration.metadataTTL else { return 86_400 }
        return max((trustedSince(checkedAt) + ttl - Timestamp.now()).secondsRounded, 0)
    }

    /// What a report says is as old as the report, but whoever loads one trusts it from then on.
    private func trustedSince(_ checkedAt: Timestamp) -> Timestamp {
        guard let report = configuration.report, checkedAt == report.asOf else { return checkedAt }
        return report.loadedAt
    }

    /// For how many seconds the kernel may remember that a name does not exist.
    /// Never long: our own memory of it is nearly as quick, and the kernel's cannot be taken back name by name.
    package var absentSeconds: Double { min(configuration.metadataTTL.map(\.secondsRounded) ?? 1, 1) }

    // MARK: Errors

    /// Says in the log, in one line, what failed and what the store said.
    func report(_ operation: String, _ key: ObjectKey, _ error: StoreError) {
        guard error.kind != .cancelled else { return }
        let report = Report(
            operation: operation, key: key, code: error.code, time: .now(),
            text: "\(operation) of \(key) failed: \(error)\(Self.advice(error))")
        guard lastReport.withLock({ $0.isNews(report) }) else { return }
        log.warning("\(report.text)")
    }

    /// What the store would not do when it was asked last, and when that was.
    package var lastFailure: (text: String, time: Timestamp)? {
        lastReport.withLock { $0.time == .epoch ? nil : ($0.text, $0.time) }
    }

    struct Report: Sendable {
        var operation: String
        var key: ObjectKey
        var code: String
        var time: Timestamp
        var text = ""

        /// Whether the next report says anything that this one did not: the kernel asks twice for a page that failed.
        /// If it does, it takes this one's place.
        mutating func isNews(_ next: Report) -> Bool {
            let isRepetition =
                next.operation == operation && next.key == key && next.code == code && next.time < time + .seconds(5)
            if !isRepetition { self = next }
            return !isRepetition
        }
    }

    private static func advice(_ error: StoreError) -> String {
        switch error.kind {
        case .denied: "; check the credentials and the bucket's policy"
        case .clockSkew: "; set this machine's clock"
        case .preconditionFailed: "; the object was replaced while it was open: open it again"
        case .throttled: "; the store asks to slow down"
        default: ""
        }
    }

    func failure(_ operation: String, _ key: ObjectKey, _ error: MetadataError) -> FileError {
        log.error("\(operation) of \(key) failed: \(error)")
        return .io
    }
}
