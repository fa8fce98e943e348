package import Content
internal import Logging
internal import Metadata
internal import ObjectStore
internal import Restore
internal import Synchronization
internal import Upload
package import ThawCore
internal import Wire

/// What an open hands to the kernel.
package struct OpenedFile: Sendable {
    package var handle: UInt64
    /// The page cache is bypassed: for files that are frozen, so that a waiting read can be interrupted and holds up
    /// nobody's readahead, and for a version opened beside another, so that their pages never mix.
    package var isDirect: Bool
    /// The page cache still holds this version.
    package var keepsCache: Bool
}

extension Filesystem {
    // MARK: Opening

    /// Opens the file if that needs nothing asked: what is known of it is fresh, and it is readable.
    package func openAtHand(_ number: UInt64) -> OpenedFile? {
        guard let inode = inodes[number], let record = inode.record, isFresh(inode.checkedAt), !inode.isKnownFrozen,
            inode.staged == nil, !inode.isRemoved, inode.isKnownRegular || !record.mayBeSymbolicLink,
            !record.mayBeArchivedUnseen,
            context.state(of: record, at: .now()).isReadable
        else { return nil }
        return opened(number, inode, record, isFrozen: false)
    }

    /// Opens the file; a frozen one as the mount's `on_frozen` says.
    package func open(_ number: UInt64, caller: Caller) async throws(FileError) -> OpenedFile {
        if let opened = try openStaged(number) { return opened }
        inodes.unite(number)
        let seenAt = ContinuousClock.now
        var record = try await freshRecord(number)
        if inodes[number]?.isKnownFrozen == false, context.state(of: record, at: .now()).isReadable {
            record = try await settled(number, record)
        }
        guard let inode = inodes[number] else { throw .stale }
        if !inode.isKnownFrozen, context.state(of: record, at: .now()).isReadable {
            return opened(number, inode, record, isFrozen: false)
        }
        // All of it was read while a copy was there.
        if await isOnDisk(inode, record) { return opened(number, inode, record, isFrozen: false) }
        if try await mayOpenFrozen(inode, record, seenAt: seenAt, caller) {
            return opened(number, inode, record, isFrozen: true)
        }
        // The request found a restored copy.
        return opened(number, inode, try await freshRecord(number), isFrozen: false)
    }

    /// What a listing shows as a small file may be a symbolic link, which the kernel looks at again then, and follows;
    /// and some listings do not tell that an object is frozen. What else a HEAD tells is not taken in: to who reads a
    /// whole tree, attributes that change by being read would look like a file that was changed meanwhile.
    private func settled(_ number: UInt64, _ record: ObjectRecord) async throws(FileError) -> ObjectRecord {
        guard let inode = inodes[number],
            record.mayBeArchivedUnseen || record.mayBeSymbolicLink && !inode.isKnownRegular
        else { return record }
        var asked: ObjectRecord
        do throws(StoreError) { asked = try await store.head(inode.key, version: inode.version) } catch {
            report("HEAD", inode.key, error)
            throw FileError(error)
        }
        if asked.attributes?.isSymbolicLink ?? false {
            await learned(inode.key, version: inode.version, asked)
            throw .stale
        }
        if record.mayBeArchivedUnseen {
            asked.attributes = record.attributes
            await learned(inode.key, version: inode.version, asked)
        }
        inodes.update(number) { $0.isKnownRegular = true }
        return record.mayBeArchivedUnseen ? asked : record
    }

    package func close(_ handle: UInt64) {
        guard let file = openFiles.close(handle) else { return }
        pollers.remove(handle, of: file.inode)
        if file.isHeld.load(ordering: .acquiring) { restores.release(file.key, version: file.version) }
        if let staged = file.staged {
            stagedFiles.leave(staged)
            settle(staged, of: file.inode)
        }
        dropHidden(file.inode)
    }

    private func opened(_ number: UInt64, _ inode: Inode, _ record: ObjectRecord, isFrozen: Bool) -> OpenedFile {
        let (handle, isBesideOther) = openFiles.open(
            number, record, isFrozen: isFrozen, aheadBytesMax: contents.aheadBytesMax
        ) {
            content(inode, record)
        }
        if !isFrozen, record.restore != nil, let file = openFiles[handle] { hold(file, record) }
        let isDirect = isFrozen || isBesideOther
        let keepsCache = inodes.update(number) { inode in
            defer { if !isDirect { inode.openedETag = record.etag } }
            // It was on disk for a moment.
            if inode.record == nil { inode.record = record }
            return !isDirect && inode.openedETag == record.etag
        }
        return OpenedFile(handle: handle, isDirect: isDirect, keepsCache: keepsCache ?? false)
    }

    // MARK: Reading

    /// The bytes, if they are in memory (or there are none); starts fetching what is missing, unless it is frozen.
    package func readAtHand(_ handle: UInt64, offset: UInt64, sizeBytes: Int) -> PinnedBytes? {
        guard let file = openFiles[handle], !file.isFrozen.load(ordering: .acquiring),
            !file.isOutOfDate.load(ordering: .acquiring)
        else { return nil }
        if offset == 0 { noteReading(file.inode, file) }
        let source = file.source
        guard let range = source.range(offset, sizeBytes) else { return PinnedBytes.none }
        switch source {
        case .object(let content): return content.bytesAtHand(range, ahead: file.pattern.withLock { $0.note(range) })
        case .staged(let staged):
            guard case .success(let bytes) = staged.bytesAtHand(range) else { return nil }
            return PinnedBytes(bytes)
        }
    }

    private func isOnDisk(_ inode: Inode, _ record: ObjectRecord) async -> Bool {
        guard let blocks = contents.blocks else { return false }
        return await blocks.holds(
            inode.key, version: inode.version, etag: record.etag, sizeBytes: record.sizeBytes)
    }

    func content(_ inode: Inode, _ record: ObjectRecord) -> FileContent {
        contents.content(key: inode.key, version: inode.version, etag: record.etag, sizeBytes: record.sizeBytes)
    }

    /// The bytes from `offset`, up to `sizeBytes` of them or to the end of the file. Waits for the store, and for a
    /// restore as far as `on_frozen` lets it.
    package func read(
        _ handle: UInt64, offset: UInt64, sizeBytes: Int, caller: Caller
    ) async throws(FileError) -> PinnedBytes {
        guard let file = openFiles[handle] else { throw .stale }
        var thaws = 0
        while true {
            if file.isOutOfDate.load(ordering: .acquiring) { throw .stale }
            let source = file.source
            guard let range = source.range(offset, sizeBytes) else { return .none }
            if file.isFrozen.load(ordering: .acquiring) {
                // What was read while a copy was there needs none.
                if case .object(let content) = source, let bytes = await content.bytesWithoutFetching(range) {
                    return bytes
                }
                try await thaw(file, caller)
                file.isFrozen.store(false, ordering: .releasing)
                inodes.update(file.inode) { $0.isKnownFrozen = false }
                if let record = inodes[file.inode]?.record { hold(file, record) }
                tellPollers(of: file.inode)
            }
            do throws(StoreError) {
                return try await bytes(of: file, source, range)
            } catch {
                if try await hasMoved(file, from: source, error) { continue }
                guard error.kind == .invalidObjectState else { throw await failedRead(file, error) }
                // A copy may lapse between the restore and the read, and be restored again; but not for ever.
                thaws += 1
                guard thaws < Self.thawsMax else {
                    log.error("\(file.key) is frozen again as soon as it is restored; ask the provider")
                    throw .timedOut
                }
                markFrozen(file)
            }
        }
    }

    private static let thawsMax = 3

    /// Whether a read failed only because the file is being changed, renamed or removed here meanwhile: its bytes are
    /// elsewhere then.
    private func hasMoved(
        _ file: FileHandle, from source: FileHandle.Source, _ error: StoreError
    ) async throws(FileError) -> Bool {
        switch error.kind {
        case .cancelled: guard !Task.isCancelled else { return false }
        case .noSuchKey, .preconditionFailed:
            if case .object(let content) = source { try await moves.wait(for: content.key) }
        default: return false
        }
        return !(file.source === source)
    }

    private func bytes(
        of file: FileHandle, _ source: FileHandle.Source, _ range: Range<UInt64>
    ) async throws(StoreError) -> PinnedBytes {
        switch source {
        case .object(let content):
            return try await content.bytes(range, ahead: file.pattern.withLock { $0.note(range) })
        case .staged(let staged):
            do throws(UploadError) { return PinnedBytes(try await staged.bytes(range)) } catch {
                switch error {
                case .store(let error), .conflict(let error): throw error
                default:
                    log.error("read of \(file.key) failed: \(error)")
                    throw StoreError(.nonsense, code: "Staging", message: error.description)
                }
            }
        }
    }

    private func failedRead(_ file: FileHandle, _ error: StoreError) async -> FileError {
        report("read", file.key, error)
        let isOutOfDate = error.kind == .preconditionFailed || error.kind == .noSuchKey
        // What was cached is wrong about this object: let the next look ask, unless one has since the open.
        if isOutOfDate, let inode = inodes[file.inode], inode.record?.etag == file.record.etag {
            do throws(MetadataError) {
                try await expire(file.inode, inode)
            } catch {
                return failure("read", file.key, error)
            }
        }
        return error.kind == .noSuchKey ? .stale : FileError(error)
    }

    func markFrozen(_ file: FileHandle) {
        file.isFrozen.store(true, ordering: .releasing)
        inodes.update(file.inode) { $0.isKnownFrozen = true }
    }
}

extension FileHandle.Source {
    /// The part of the file that a read is about; nil past its end.
    func range(_ offset: UInt64, _ sizeBytes: Int) -> Range<UInt64>? {
        let end = self.sizeBytes
        guard offset < end, sizeBytes > 0 else { return nil }
        return offset..<min(offset + UInt64(sizeBytes), end)
    }
}
