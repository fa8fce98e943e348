internal import Glibc
internal import Synchronization
package import ThawCore

/// The directory of staging files, and how much they may take together.
package final class StagingArea: Sendable {
    package let directory: String
    /// Of the directory, so that nobody puts another in its place.
    private let root: LocalFile
    let disk: DiskSync
    private let bytesMax: UInt64
    private let keepFreeBytes: UInt64
    private let used = Atomic<UInt64>(0)
    /// Told now and then when more is taken: what else uses the disk may have to make room.
    private let grown = Mutex<(@Sendable () -> Void)?>(nil)
    private let files = Mutex<[ObjectIdentifier: WeakReference<StagedFile>]>([:])

    /// Makes the directory (mode 0700); one that is there must be this user's alone. `keepFreeBytes` of the disk under
    /// it are left to others.
    package init(directory: String, bytesMax: UInt64, keepFreeBytes: UInt64) throws(StagingFault) {
        self.directory = directory
        do throws(Thread.Failure) { disk = DiskSync(executor: try ThreadExecutor(name: "disk-sync")) } catch {
            throw StagingFault(errorText(error.errno))
        }
        self.bytesMax = bytesMax
        self.keepFreeBytes = keepFreeBytes
        var path = ""
        for component in directory.split(separator: "/") {
            path += "/" + component
            guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw StagingFault("\(path): \(errorText(errno))") }
        }
        root = try Self.openPrivate(directory)
    }

    package var usedBytes: UInt64 { used.load(ordering: .relaxed) }

    func makeFile() throws(UploadError) -> StagingFile {
        var generator = SystemRandomNumberGenerator()
        let name = "\(String(generator.next(), radix: 16))-\(getpid())"
        do throws(ErrnoError) {
            return try StagingFile(name, at: directory, root, O_CREAT | O_EXCL)
        } catch {
            throw UploadError(error)
        }
    }

    /// Opens the file that an earlier mount left.
    func file(named name: String) throws(UploadError) -> StagingFile {
        let file: StagingFile
        var status = stat()
        do throws(ErrnoError) {
            file = try StagingFile(name, at: directory, root, 0)
            guard fstat(file.file.descriptor, &status) == 0 else { throw ErrnoError(code: errno) }
        } catch {
            throw UploadError(error)
        }
        guard status.st_mode & S_IFMT == S_IFREG, status.st_uid == geteuid(), status.st_nlink == 1 else {
            // Somebody else's, or one that others can reach.
            throw .local(ErrnoError(code: EPERM))
        }
        return file
    }

    private static func openPrivate(_ directory: String) throws(StagingFault) -> LocalFile {
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else {
            guard errno == ENOTDIR || errno == ELOOP else { throw StagingFault("\(directory): \(errorText(errno))") }
            throw StagingFault("\(directory) is no directory, or a link to one")
        }
        let file = LocalFile(descriptor: descriptor)
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw StagingFault("\(directory): \(errorText(errno))") }
        guard status.st_uid == geteuid(), status.st_mode & 0o077 == 0 else {
            throw StagingFault("\(directory) is not this user's alone: it must be theirs, with mode 0700")
        }
        return file
    }

    // MARK: What an earlier mount left

    private static let lostName = "lost"

    /// Removes the files that nobody is promised anything of.
    package func sweep(keeping names: Set<String>) {
        for name in LocalDirectory.names(in: directory) where name != Self.lostName && !names.contains(name) {
            unlinkat(root.descriptor, name, 0)
        }
    }

    /// Moves files with content that are not among these to where `thawfs cache recover` lists them. Answers their
    /// paths.
    package func setAside(allBut names: Set<String>) throws(ErrnoError) -> [String] {
        var paths: [String] = []
        for name in LocalDirectory.names(in: directory) where name != Self.lostName && !names.contains(name) {
            var status = stat()
            guard fstatat(root.descriptor, name, &status, AT_SYMLINK_NOFOLLOW) == 0,
                status.st_mode & S_IFMT == S_IFREG, status.st_size > 0
            else { continue }
            let target = Self.lostName + "/" + name
            guard mkdirat(root.descriptor, Self.lostName, 0o700) == 0 || errno == EEXIST,
                renameat(root.descriptor, name, root.descriptor, target) == 0
            else { throw ErrnoError(code: errno) }
            paths.append(directory + "/" + target)
        }
        return paths
    }

    /// What `setAside` has moved, in an area that nobody may have open.
    package static func lost(in directory: String) -> [UploadSummary] {
        let place = directory + "/" + lostName
        return LocalDirectory.names(in: place).sorted().compactMap { name in
            var status = stat()
            guard lstat(place + "/" + name, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
            return UploadSummary(lost: name, status, in: place)
        }
    }

    // MARK: Room

    private static let growthStep: UInt64 = 16 << 20

    package func whenGrown(_ body: @escaping @Sendable () -> Void) { grown.withLock { $0 = body } }

    /// Counts the bytes in, unless they are too many.
    func take(_ bytes: UInt64) -> Bool {
        let (before, total) = used.wrappingAdd(bytes, ordering: .relaxed)
        if before / Self.growthStep != total / Self.growthStep { grown.withLock { $0 }?() }
        let floor = keepFreeBytes.addingReportingOverflow(bytes).partialValue
        if total <= bytesMax, bytes == 0 || LocalDirectory.freeBytes(at: directory) >= floor { return true }
        give(bytes)
        return false
    }

    /// What an earlier mount has staged counts whether or not there is room for it.
    func takeAnyway(_ bytes: UInt64) { used.wrappingAdd(bytes, ordering: .relaxed) }

    func give(_ bytes: UInt64) { used.wrappingSubtract(bytes, ordering: .relaxed) }

    func add(_ file: StagedFile) {
        let reference = WeakReference<StagedFile>()
        reference.value = file
        files.withLock { files in
            // An object may come to lie where one lay that is gone.
            files[ObjectIdentifier(file)] = reference
            if files.count.isMultiple(of: 1024) { files = files.filter { $0.value.value != nil } }
        }
    }

    /// Files are being stored that will give their room back.
    var isEmptying: Bool {
        files.withLock { files in files.values.contains { $0.value?.isOnItsWay ?? false } }
    }

    /// Punches out what the store has, of whatever file; false when that made no room.
    func reclaim() -> Bool {
        let known = files.withLock { files in
            files = files.filter { $0.value.value != nil }
            return Array(files.values)
        }
        return known.reduce(0) { $0 + ($1.value?.evict() ?? 0) } > 0
    }
}

/// Why no staging files can be kept there, in a sentence.
package struct StagingFault: Error, CustomStringConvertible {
    package let description: String

    init(_ description: String) { self.description = description }
}

/// One staging file: sparse, as long as what was written to it.
final class StagingFile: Sendable {
    let name: String
    let path: String
    let file: LocalFile

    init(_ name: String, at directory: String, _ root: LocalFile, _ flags: Int32) throws(ErrnoError) {
        path = directory + "/" + name
        self.name = name
        // Nothing that is no file may make us wait.
        let descriptor = openat(root.descriptor, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | flags, 0o600)
        guard descriptor >= 0 else { throw ErrnoError(code: errno) }
        file = LocalFile(descriptor: descriptor)
    }

    func truncate(to sizeBytes: UInt64) throws(ErrnoError) {
        guard ftruncate(file.descriptor, off_t(sizeBytes)) == 0 else { throw ErrnoError(code: errno) }
    }

    /// Makes it at least this long.
    func extend(to sizeBytes: UInt64) throws(ErrnoError) {
        var status = stat()
        guard fstat(file.descriptor, &status) == 0 else { throw ErrnoError(code: errno) }
        if UInt64(status.st_size) < sizeBytes { try truncate(to: sizeBytes) }
    }

    /// Makes it at most this long.
    func shorten(to sizeBytes: UInt64) throws(ErrnoError) {
        var status = stat()
        guard fstat(file.descriptor, &status) == 0 else { throw ErrnoError(code: errno) }
        if UInt64(status.st_size) > sizeBytes { try truncate(to: sizeBytes) }
    }

    /// Gives the disk back; the bytes read as zeros from then on.
    func punch(_ range: Range<UInt64>) throws(ErrnoError) {
        try file.punch(range)
    }

    /// Content and name reach the disk.
    func sync() throws(ErrnoError) {
        guard fsync(file.descriptor) == 0 else { throw ErrnoError(code: errno) }
        let parent = String(path.prefix(path.count - name.count))
        let directory = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { throw ErrnoError(code: errno) }
        defer { close(directory) }
        guard fsync(directory) == 0 else { throw ErrnoError(code: errno) }
    }

    func remove() { unlink(path) }
}

/// Waits for the disk, on a thread of its own.
actor DiskSync {
    private let executor: ThreadExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(executor: ThreadExecutor) { self.executor = executor }

    func sync(_ file: StagingFile) throws(ErrnoError) { try file.sync() }
}
