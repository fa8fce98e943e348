internal import Glibc
internal import Synchronization
package import ThawCore

/// The directory of staging files, and how much they may take together.
package final class StagingArea: Sendable {
    package let directory: String
    let disk: DiskSync
    private let bytesMax: UInt64
    private let keepFreeBytes: UInt64
    private let used = Atomic<UInt64>(0)
    private let files = Mutex<[ObjectIdentifier: WeakReference<StagedFile>]>([:])

    /// Makes the directory (mode 0700). `keepFreeBytes` of the disk under it are left to others.
    package init(directory: String, bytesMax: UInt64, keepFreeBytes: UInt64) throws(ErrnoError) {
        self.directory = directory
        do throws(Thread.Failure) { disk = DiskSync(executor: try ThreadExecutor(name: "disk-sync")) } catch {
            throw ErrnoError(code: error.errno)
        }
        self.bytesMax = bytesMax
        self.keepFreeBytes = keepFreeBytes
        var path = ""
        for component in directory.split(separator: "/") {
            path += "/" + component
            guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw ErrnoError(code: errno) }
        }
    }

    package var usedBytes: UInt64 { used.load(ordering: .relaxed) }

    func makeFile() throws(UploadError) -> StagingFile {
        var generator = SystemRandomNumberGenerator()
        let name = "\(String(generator.next(), radix: 16))-\(getpid())"
        do throws(ErrnoError) {
            return try StagingFile(path: directory + "/" + name, name: name, isNew: true)
        } catch {
            throw UploadError(error)
        }
    }

    /// Opens the file that an earlier mount left.
    func file(named name: String) throws(UploadError) -> StagingFile {
        do throws(ErrnoError) {
            return try StagingFile(path: directory + "/" + name, name: name, isNew: false)
        } catch {
            throw UploadError(error)
        }
    }

    /// Removes the files that nobody is promised anything of.
    package func sweep(keeping names: Set<String>) {
        guard let listing = opendir(directory) else { return }
        defer { closedir(listing) }
        while let entry = readdir(listing) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if !name.hasPrefix("."), !names.contains(name) { unlink(directory + "/" + name) }
        }
    }

    // MARK: Room

    /// Counts the bytes in, unless they are too many.
    func take(_ bytes: UInt64) -> Bool {
        let total = used.wrappingAdd(bytes, ordering: .relaxed).newValue
        if total <= bytesMax, bytes == 0 || freeBytes >= keepFreeBytes.addingReportingOverflow(bytes).partialValue {
            return true
        }
        give(bytes)
        return false
    }

    /// What an earlier mount has staged counts whether or not there is room for it.
    func takeAnyway(_ bytes: UInt64) { used.wrappingAdd(bytes, ordering: .relaxed) }

    func give(_ bytes: UInt64) { used.wrappingSubtract(bytes, ordering: .relaxed) }

    private var freeBytes: UInt64 {
        var status = statvfs()
        guard statvfs(directory, &status) == 0 else { return .max }
        return UInt64(status.f_bavail) * UInt64(status.f_frsize)
    }

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

/// One staging file: sparse, as long as what was written to it.
final class StagingFile: Sendable {
    let name: String
    let path: String
    let file: LocalFile

    init(path: String, name: String, isNew: Bool) throws(ErrnoError) {
        self.path = path
        self.name = name
        let descriptor = open(path, O_RDWR | O_CLOEXEC | (isNew ? O_CREAT | O_EXCL : 0), 0o600)
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
