import ArgumentParser
import Backup
import Content
import Control
import Filesystem
import Glibc
import HTTP
import Logging
import Metadata
import Mount
import ObjectStore
import Restore
import ThawCore
import Vaults
import Wire

/// Everything that a mount is made of, and the order in which it is made: first what may refuse (the options, the
/// state directory, the store), the kernel's mount last, so that a failure leaves nothing behind.
struct MountPlan {
    let source: Source
    let mountpoint: Mountpoint
    let options: MountOptions
    let environment: [String: String]
    private let storeConfiguration: StoreConfiguration
    /// Nil where there is no Cloud Backup, or nobody said where.
    private let backupEndpoint: Endpoint?
    private let filesystemConfiguration: Filesystem.Configuration
    private let ownership: Ownership
    private let memoryBytes: Int
    private let cacheLimits: MountOptions.CacheLimits
    private let logLevel: Logger.Level
    private let inventory: InventoryLoad?

    init(source: Source, mountpoint: Mountpoint, options: MountOptions, environment: [String: String]) throws {
        self.source = source
        self.mountpoint = mountpoint
        self.options = options
        self.environment = environment
        storeConfiguration = try options.storeConfiguration(source, environment: environment)
        backupEndpoint = try options.backupEndpoint(source, storeConfiguration)
        filesystemConfiguration = try options.filesystemConfiguration(source)
        ownership = try options.ownership()
        memoryBytes = try options.memoryBytes()
        cacheLimits = try options.cacheLimits()
        logLevel = try options.logLevel()
        inventory = try options.inventory(source).map { try InventoryLoad(source, $0) }
    }

    /// Mounts and serves until the mount is gone. With a descriptor, reports to the command that waits behind it.
    func serve(reportingTo descriptor: Int32?) async throws {
        do {
            try await serveOrThrow(reportingTo: descriptor)
        } catch {
            guard let descriptor else { throw error }
            Readiness.report("\(error)", to: descriptor)
            throw ExitCode.failure
        }
    }

    private func serveOrThrow(reportingTo descriptor: Int32?) async throws {
        try Mountpoint.checkDevice()
        limitArenas()
        // A command that was interrupted no longer reads what is reported to it.
        signal(SIGPIPE, SIG_IGN)
        let stop = StopSignals()
        let state = try await StateLocation(source, storeConfiguration, options, environment).open(for: mountpoint)
        let logDescriptor = try openLog(state, isBackground: descriptor != nil)
        let log = logger(logDescriptor)
        let ending = Ending(mountpoint: mountpoint.path, log)
        let signals = ending.follow(stop)
        let http = try options.httpClient()
        // A daemon keeps no directory of its caller's in use.
        if descriptor != nil { chdir("/") }
        let reference = WeakReference<Filesystem>()
        let connection = try StoreConnection(
            source, storeConfiguration, options, environment, http, log,
            catalogue: .init(directory: state.path) { await reference.value?.forgetNames() })
        let store = connection.store
        let context = try await probe(store)

        _ = try await inventory?.run(state, connection, onlyNewer: true, log)
        let writer = try MetadataWriter(
            path: state.databasePath, executor: ThreadExecutor(name: "db-writer"), log: log)
        let reader = MetadataReader(path: state.databasePath, executor: try ThreadExecutor(name: "db-reader"))
        let socket = ControlSocket(directory: state.path)
        var configuration = configurationWithinKernelLimits(log)
        configuration.controlPath = socket.path
        configuration.report = try await reader.loadedReport()
        let area = try StagingLocation(state.path, options, environment).open(
            cacheLimits, writesBack: configuration.writeBack, hasPromises: !writer.left.uploads.isEmpty, log)
        let blocks = await BlockLocation(beside: area).open(cacheLimits, log, area: area)
        let filesystem = Filesystem(
            configuration: configuration, store: store, context: context,
            contents: ContentCache(store: store, bytesMax: memoryBytes * 3 / 8, blocks: blocks), area: area,
            writer: writer, reader: reader,
            // Each is a third of a KiB.
            inodeLimit: InodeLimit(
                inodesMax: memoryBytes >> 10, store: try IdleInodes(in: state.path),
                executor: try ThreadExecutor(name: "inodes"), log: log),
            log: log)
        reference.value = filesystem
        try await filesystem.resumeRestores()
        if let endpoint = backupEndpoint, let bucket = source.bucket {
            let client = BackupClient(endpoint, credentials: connection.credentials, transport: http, logger: log)
            try await filesystem.useBackups(client, bucket: bucket)
        }
        try await filesystem.resumeUploads()
        let figures = { @Sendable [transport = connection.transport] in MountFigures(filesystem, transport, blocks) }
        let control = openControl(socket, filesystem, figures: figures, leave: { ending.hurry() }, log)
        defer { control?.stop() }

        let (initializations, initialized) = AsyncStream.makeStream(of: Void.self)
        let mount = try mount(filesystem, log, onInitialized: { initialized.yield() }, onEnded: { initialized.finish() })
        ending.begin(mount)
        // Ends without a value when the session ended before the kernel agreed to it.
        guard await initializations.first(where: { true }) != nil else {
            throw UsageError("the kernel ended the mount of \(mountpoint.path) before it was usable")
        }
        log.info("mounted \(source.text) on \(mountpoint.path)")
        if let descriptor {
            dup2(logDescriptor, STDERR_FILENO)
            if !Readiness.report(nil, to: descriptor) {
                log.info("the command that mounts was given up")
                mount.unmount()
            }
        }
        let cleaning = Task { await filesystem.resumeCleaning() }
        await mount.waitUntilUnmounted()
        cleaning.cancel()
        if await !ending.storeRest(of: filesystem) {
            log.error("some of what was written is not in the store; it is journalled, and the next mount goes on with it")
        }
        signals.cancel()
        http.shutdown()
        await blocks?.end()
        await writer.checkpoint()
        log.info("unmounted \(source.text) from \(mountpoint.path)")
        withExtendedLifetime((state, stop)) {}
    }

    // MARK: Parts

    private func configurationWithinKernelLimits(_ log: Logger) -> Filesystem.Configuration {
        func seconds(_ name: String) -> Int {
            readTextFile("/proc/sys/fs/fuse/\(name)").flatMap { Int($0.filter(\.isNumber)) } ?? 0
        }
        var configuration = filesystemConfiguration
        let isShortened = configuration.frozen.fit(
            kernelDefaultSeconds: seconds("default_request_timeout"),
            kernelMaximumSeconds: seconds("max_request_timeout"))
        if isShortened, let wait = configuration.frozen.waitMax {
            log.warning("reads wait for a restore no longer than \(wait): fs.fuse.*_request_timeout would abort the mount")
        }
        return configuration
    }

    /// Asks the store for one key: who we are, what the bucket is, and whether it can be reached all show here.
    private func probe(_ store: RetryingStore) async throws -> ArchiveContext {
        do throws(StoreError) {
            _ = try await store.list(ListRequest(prefix: source.prefix, keysMax: 1))
            return ArchiveContext(dialect: store.dialect, hasDirectRead: try await store.archiveDirectRead())
        } catch {
            let place = "\(source.dialect.rawValue)://\(source.bucket ?? "") at \(storeConfiguration.endpoint.authority)"
            switch error.kind {
            case .noSuchBucket: throw UsageError("no such bucket: \(place) (\(error))")
            case .denied: throw UsageError("the store refuses these credentials for \(place): \(error)")
            case .clockSkew: throw UsageError("this machine's clock is too far from the store's; set it (\(error))")
            case .unavailable, .timeout: throw UsageError("cannot reach \(place): \(error)")
            default: throw UsageError("\(place): \(error)")
            }
        }
    }

    private func mount(
        _ filesystem: Filesystem, _ log: Logger, onInitialized: @escaping @Sendable () -> Void,
        onEnded: @escaping @Sendable () -> Void
    ) throws -> MountedFilesystem {
        let fuseOptions = try options.fuseOptions(source)
        do throws(MountError) {
            return try MountedFilesystem(
                filesystem, mountpoint: mountpoint.path, options: fuseOptions, ownership: ownership, readers: 2,
                log: log, onInitialized: onInitialized, onEnded: onEnded)
        } catch {
            throw UsageError("cannot mount on \(mountpoint.path): \(error)")
        }
    }

    /// A mount whose commands cannot be answered is still a mount.
    private func openControl(
        _ socket: ControlSocket, _ filesystem: Filesystem, figures: @escaping @Sendable () -> MountFigures,
        leave: @escaping @Sendable () -> Void, _ log: Logger
    ) -> ControlServer? {
        let service = ControlService(
            source: source.text, mountpoint: mountpoint.path, restores: filesystem.restores,
            uploads: { await filesystem.uploads() }, figures: figures, leave: leave)
        do throws(ControlError) {
            return try ControlServer(at: socket, log: log) { await service.serve($0) }
        } catch {
            log.warning("thawfs restore and thawfs status cannot ask this mount: \(error)")
            return nil
        }
    }

    private func openLog(_ state: StateDirectory, isBackground: Bool) throws -> Int32 {
        guard let path = options.text(.log) ?? (isBackground ? state.logPath : nil), path != "-" else {
            return STDERR_FILENO
        }
        let descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw UsageError("log=\(path): \(errorText(errno))") }
        return descriptor
    }

    private func logger(_ descriptor: Int32) -> Logger {
        let level = logLevel
        return Logger(label: "thawfs") { LogLine(label: $0, level: level, descriptor: descriptor) }
    }
}
