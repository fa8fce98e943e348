internal import Content
internal import Logging
internal import Metadata
internal import ObjectStore
internal import Restore
internal import Synchronization
package import ThawCore
internal import Upload
internal import Wire

extension Filesystem {
    package var isReadOnly: Bool { configuration.isReadOnly }

    // MARK: Opening

    /// Opens the file if that needs nothing asked: only for reading, and what is known of it is fresh and readable.
    package func openAtHand(_ number: UInt64, _ mode: OpenMode) -> OpenedFile? {
        mode.writes || mode.truncates ? nil : openAtHand(number)
    }

    /// Opens the file to be changed. A frozen one needs no restore if all of it is to be replaced; else it is opened as
    /// `on_frozen` says, and what changes a part of it waits for the restore.
    package func open(_ number: UInt64, _ mode: OpenMode, caller: Caller) async throws(FileError) -> OpenedFile {
        guard mode.writes || mode.truncates else { return try await open(number, caller: caller) }
        let seenAt = ContinuousClock.now
        let (file, isFrozen) = try await stage(number, truncates: mode.truncates, seenAt: seenAt, caller: caller)
        guard let inode = inodes[number] else {
            leave(file, of: number)
            throw .stale
        }
        let record = inode.record ?? file.record
        if mode.truncates {
            do throws(UploadError) { try await file.truncate(to: 0) } catch {
                leave(file, of: number)
                throw failed("truncating", file, error)
            }
        }
        let handle = openFiles.open(
            number, record, file, writes: true, appends: mode.appends, isFrozen: isFrozen,
            aheadBytesMax: contents.aheadBytesMax)
        // What the kernel has of an earlier version must not be mixed with this one.
        let etag = file.base?.etag
        let isSame = inodes.update(number) { inode in
            defer { if let etag, !isFrozen { inode.openedETag = etag } }
            return etag == nil || inode.openedETag == etag
        }
        return OpenedFile(
            handle: handle, isDirect: isFrozen, keepsCache: !isFrozen && !mode.truncates && isSame ?? false)
    }

    /// Opens the file as it is being changed, if it is; for reading.
    func openStaged(_ number: UInt64) throws(FileError) -> OpenedFile? {
        guard let inode = inodes[number] else { throw .stale }
        if inode.isRemoved { throw .stale }
        guard let staged = inode.staged, let file = stagedFiles.use(staged.key) else { return nil }
        guard file === staged else {
            stagedFiles.leave(file)
            return nil
        }
        let handle = openFiles.open(
            number, inode.record ?? file.record, file, writes: false, appends: false, isFrozen: false,
            aheadBytesMax: contents.aheadBytesMax)
        return OpenedFile(handle: handle, isDirect: false, keepsCache: true)
    }

    /// The file to be changed, used once more: the one that is being changed already, or a new change of the object.
    /// The second answer: its object is frozen, and bytes of it are needed.
    func stage(
        _ number: UInt64, truncates: Bool, seenAt: ContinuousClock.Instant, caller: Caller
    ) async throws(FileError) -> (file: StagedFile, isFrozen: Bool) {
        guard let inode = inodes[number] else { throw .stale }
        guard inode.directory == nil else { throw .isDirectory }
        guard inode.version == nil, inode.home?.view == .objects else { throw .readOnly }
        guard !inode.isRemoved else { throw .stale }
        let key = inode.key
        if let file = stagedFiles.use(key) {
            guard !truncates, file.needsBase, let record = inode.record,
                inode.isKnownFrozen || !context.state(of: record, at: .now()).isReadable
            else { return (file, false) }
            do throws(FileError) {
                return (file, try await mayOpenFrozen(inode, record, seenAt: seenAt, caller))
            } catch {
                leave(file, of: number)
                throw error
            }
        }
        if moves.concern(key) {
            try await moves.wait(for: key)
            return try await stage(number, truncates: truncates, seenAt: seenAt, caller: caller)
        }
        // What is there now is what is changed, whatever was known of it; and a file keeps its mode, its owner and what
        // others have noted with it when its content is replaced.
        let description = try await describe(key)
        await learned(key, version: nil, description.record)
        let record = withDeferred(key, description.record) ?? description.record
        var isFrozen = false
        if !truncates, inode.isKnownFrozen || !context.state(of: record, at: .now()).isReadable {
            isFrozen = try await mayOpenFrozen(inode, record, seenAt: seenAt, caller)
        }
        var attributes = record.attributes ?? FileAttributes()
        if truncates { attributes.modified = .now() }
        let (base, kept) = (record, attributes)
        // It may have got another name, or none, meanwhile.
        guard let current = inodes[number], !current.isRemoved, current.key == key else { throw .stale }
        let taken: (file: StagedFile, isNew: Bool)?
        do throws(UploadError) {
            taken = try moves.unless(moving: key) { () throws(UploadError) in
                try stagedFiles.use(key) { () throws(UploadError) in
                    try StagedFile(
                        key, base: StagedFile.Base(
                            key: key, etag: base.etag, sizeBytes: base.sizeBytes, end: truncates ? 0 : base.sizeBytes),
                        sizeBytes: truncates ? 0 : base.sizeBytes, attributes: kept,
                        headers: description.headers, condition: .matches(etag: base.etag), isChanged: truncates,
                        in: staging)
                }
            }
        } catch {
            throw failed("opening", key, error)
        }
        guard let made = taken else {
            return try await stage(number, truncates: truncates, seenAt: seenAt, caller: caller)
        }
        if made.isNew { show(made.file, on: number, of: base.etag) }
        return (made.file, isFrozen)
    }

    func describe(_ key: ObjectKey) async throws(FileError) -> ObjectDescription {
        do throws(StoreError) { return try await store.describe(key, version: nil) } catch {
            report("HEAD", key, error)
            throw FileError(error)
        }
    }

    /// From now on the inode, and all who have open what this is a change of, show the file as it is being changed.
    func show(_ file: StagedFile, on number: UInt64, of etag: String?) {
        inodes.update(number) { $0.staged = file }
        openFiles.stage(number, file, of: etag) { stagedFiles.use(file, times: $0) }
    }

    // MARK: Writing

    /// Takes the bytes if that waits for nobody; else answers false, and `write` must be asked.
    package func writeAtHand(
        _ handle: UInt64, offset: UInt64, _ bytes: UnsafeRawBufferPointer
    ) -> Result<Bool, FileError> {
        guard let file = openFiles[handle], file.writes, let staged = file.staged else { return .failure(.stale) }
        if file.isFrozen.load(ordering: .acquiring) { return .success(false) }
        if file.appends { appending(file, staged, offset) }
        return staged.writeAtHand(bytes, at: file.appends ? nil : offset).mapError { failed("write", staged, $0) }
    }

    package func write(
        _ handle: UInt64, offset: UInt64, _ bytes: [UInt8], caller: Caller
    ) async throws(FileError) {
        let appends = openFiles[handle]?.appends ?? false
        try await changing(handle, "write", caller) { staged throws(UploadError) in
            if appends, let file = openFiles[handle] { appending(file, staged, offset) }
            try await staged.write(bytes, at: appends ? nil : offset)
        }
    }

    /// The kernel appends to the size that it knows. Where another machine has made the file longer since, that is in
    /// the middle; what the kernel then has of the file is wrong.
    private func appending(_ file: FileHandle, _ staged: StagedFile, _ offset: UInt64) {
        if staged.sizeBytes != offset { kernelCache.value?.forgetContent(of: file.inode) }
    }

    /// As fallocate(2): `keepsSize` and `punchesHole` are its flags.
    package func allocate(
        _ handle: UInt64, range: Range<UInt64>, keepsSize: Bool, punchesHole: Bool, caller: Caller
    ) async throws(FileError) {
        try await changing(handle, "fallocate", caller) { staged throws(UploadError) in
            staged.touch()
            if punchesHole {
                try await staged.punch(range)
            } else if !keepsSize, staged.sizeBytes < range.upperBound {
                try await staged.truncate(to: range.upperBound)
            }
        }
    }

    /// Changes the open file, once the object that it is a change of is readable.
    private func changing(
        _ handle: UInt64, _ operation: String, _ caller: Caller,
        _ change: (StagedFile) async throws(UploadError) -> Void
    ) async throws(FileError) {
        guard let file = openFiles[handle], file.writes, let staged = file.staged else { throw .stale }
        if file.isFrozen.load(ordering: .acquiring) { try await awaitThaw(file, caller) }
        try await thawing(file, staged, operation, caller, change)
    }

    /// Does what may find out that the object is frozen, and does it again once it is not; but not for ever.
    private func thawing(
        _ file: FileHandle, _ staged: StagedFile, _ operation: String, _ caller: Caller,
        _ body: (StagedFile) async throws(UploadError) -> Void
    ) async throws(FileError) {
        for _ in 0..<3 {
            do throws(UploadError) { return try await body(staged) } catch {
                guard case .store(let cause) = error, cause.kind == .invalidObjectState else {
                    throw failed(operation, staged, error)
                }
                markFrozen(file)
            }
            try await awaitThaw(file, caller)
        }
        throw .timedOut
    }

    private func awaitThaw(_ file: FileHandle, _ caller: Caller) async throws(FileError) {
        try await thaw(file, caller)
        file.isFrozen.store(false, ordering: .releasing)
        inodes.update(file.inode) { $0.isKnownFrozen = false }
    }

    // MARK: Storing

    /// What `close` and `fsync` wait for: true when there is nothing to wait for.
    package func isClean(_ handle: UInt64) -> Bool {
        guard let file = openFiles[handle], file.writes, let staged = file.staged else { return true }
        return !staged.isPending
    }

    /// What `fsync` waits for, whatever the file is open for.
    package func isSynced(_ handle: UInt64) -> Bool { !(openFiles[handle]?.staged?.isPending ?? false) }

    /// There are no bytes in the file.
    package func isEmpty(_ handle: UInt64) -> Bool { openFiles[handle]?.staged?.sizeBytes == 0 }

    /// Brings what was written to where `close` and `fsync` promise it to be. Bytes of a frozen object that this needs
    /// are waited for as reads wait.
    package func flush(_ handle: UInt64, caller: Caller) async throws(FileError) {
        guard let file = openFiles[handle], let staged = file.staged else { return }
        try await thawing(file, staged, "storing", caller) { staged throws(UploadError) in try await store(staged) }
    }

    func flush(_ staged: StagedFile) async throws(FileError) {
        do throws(UploadError) { try await store(staged) } catch { throw failed("storing", staged, error) }
    }

    private func store(_ staged: StagedFile) async throws(UploadError) {
        if configuration.writeBack { try await staged.accept() } else { try await staged.flush() }
    }

    func leave(_ file: StagedFile, of number: UInt64) {
        stagedFiles.leave(file)
        settle(file, of: number)
    }

    /// Ends the change once nobody is at it and all of it is stored. What is not, though nobody has the file open (its
    /// `close` failed, or it was written through a mapping), is stored now or kept.
    func settle(_ file: StagedFile, of number: UInt64) {
        if finish(file, on: number) || stagedFiles.isUsed(file) || file.isAccepted && !file.hasConflict { return }
        stagedFiles.beginSettling()
        Task {
            do throws(FileError) { try await self.flush(file) } catch { await self.park(file) }
            _ = self.finish(file, on: number)
            self.stagedFiles.endSettling()
        }
    }

    /// False while there is still something to do for the file.
    func finish(_ file: StagedFile, on number: UInt64) -> Bool {
        guard stagedFiles.retire(file) else { return false }
        let inode = inodes[number]
        let stored = inodes.update(number) { inode -> ObjectRecord? in
            guard inode.staged === file else { return nil }
            inode.staged = nil
            // Whoever looked the name up just now saw the file, not the object that it has become.
            if let base = file.base, inode.record?.etag != base.etag {
                inode.record?.etag = base.etag
                inode.record?.sizeBytes = base.sizeBytes
                inode.checkedAt = .epoch
            }
            // The kernel's pages were written through us: they are this version's.
            if let etag = file.base?.etag ?? inode.record?.etag { inode.openedETag = etag }
            return inode.record
        }
        if let inode, let record = stored ?? nil { openFiles.unstage(number, file, record) { content(inode, record) } }
        file.close()
        return true
    }

    /// Keeps what could not be stored where it can be recovered, unless somebody has opened it again: then it is for
    /// his close.
    func park(_ file: StagedFile) async {
        guard stagedFiles.removeUnused(file) else { return }
        forget(file)
        do throws(UploadError) {
            let path = try await file.park()
            log.error("what was written to \(file.key) is not in the store; it is kept in \(path): see thawfs cache recover")
        } catch {
            log.error("what was written to \(file.key) is not in the store, and could not be kept: \(error)")
        }
    }

    /// The name shows what the store has.
    private func forget(_ file: StagedFile) {
        for number in knownFiles(file.key, version: nil) {
            inodes.update(number) { inode in
                if inode.staged === file { inode.staged = nil }
                inode.checkedAt = .epoch
            }
            kernelCache.value?.forgetAttributes(of: number)
        }
    }

    /// A daemon that is killed between the store's answer and the next note of it leaves a name that is asked about,
    /// not one that is wrong.
    func storing(_ key: ObjectKey) async {
        guard let place = place(of: key) else { return }
        do throws(MetadataError) { try await writer.expire(place.segment, below: place.directory) } catch {
            _ = failure("expiring", key, error)
        }
    }

    /// A version of the file is in the store: everybody knows it before `close` returns.
    func stored(_ file: StagedFile, _ key: ObjectKey, _ record: ObjectRecord) async {
        // What was kept for the object before is not for this one, though content that is the same has the same ETag.
        let kept = deferred[key]
        if kept?.attributes != record.attributes { await forgetDeferred(kept) }
        await learned(key, version: nil, record)
    }

    // MARK: Errors

    func failed(_ operation: String, _ file: StagedFile, _ error: UploadError) -> FileError {
        failed(operation, file.key, error)
    }

    /// Says in the log why.
    func failed(_ operation: String, _ key: ObjectKey, _ error: UploadError) -> FileError {
        switch error {
        case .store(let cause):
            report(operation, key, cause)
            return FileError(cause)
        case .conflict:
            log.warning("\(operation) of \(key) failed: \(error)")
            return .stale
        case .noSpace:
            log.warning("\(operation) of \(key) failed: \(error)")
            return .noSpace
        case .tooLarge: return .tooLarge
        case .local, .notRemembered:
            log.error("\(operation) of \(key) failed: \(error)")
            return .io
        }
    }
}
