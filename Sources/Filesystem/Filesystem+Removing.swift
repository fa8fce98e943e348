internal import Content
internal import Metadata
internal import ObjectStore
internal import Restore
internal import Synchronization
internal import ThawCore
internal import Upload
internal import Wire

extension Filesystem {
    /// Deletes the object. Whoever has the file open still reads it: what the store has of it lies under a hidden key
    /// until they close it.
    package func unlink(parent: UInt64, name: [UInt8]) async throws(FileError) {
        let directory = try await writableDirectory(parent)
        guard let found = try await find(name, in: directory) else { throw .noSuchEntry }
        guard found.row.kind.isObject else { throw .isDirectory }
        try await claiming(found.row.segment, in: directory) { key throws(FileError) in
            try await removeFile(key, found.row.segment, in: directory)
        }
        namesChanged(in: directory)
    }

    private func removeFile(_ key: ObjectKey, _ segment: [UInt8], in directory: Directory) async throws(FileError) {
        let number = existingInode(segment, in: directory)
        let file = stagedFiles[key]
        if let file { try await hold(file, of: number, "unlink") }
        do throws(FileError) {
            if let number { try await hide(number) }
            if file?.mayBeStored ?? true { try await deleteObject(key) }
            await forgetDeferred(deferred[key])
        } catch {
            // It is as it was.
            file?.release()
            throw error
        }
        if let file {
            stagedFiles.remove(file)
            await file.discard()
        }
        await remember(MetadataRow(segment: segment, kind: .absent, checkedAt: .now()), in: directory)
        if let number { await removeName(number) }
        await keepDirectory(directory)
    }

    /// Does something to a name that nobody moves or opens for writing meanwhile, under the key that it has by then.
    func claiming<Result: Sendable>(
        _ segment: [UInt8], in directory: Directory,
        _ change: (ObjectKey) async throws(FileError) -> Result
    ) async throws(FileError) -> Result {
        while true {
            let key = directory.key(of: segment)
            try await moves.begin([key])
            defer { moves.end([key]) }
            if key == directory.key(of: segment) { return try await change(key) }
        }
    }

    package func removeDirectory(parent: UInt64, name: [UInt8]) async throws(FileError) {
        let directory = try await writableDirectory(parent)
        guard let found = try await find(name, in: directory) else { throw .noSuchEntry }
        guard !found.row.kind.isObject else { throw .notDirectory }
        guard found.row.segment != Names.versionsSegment else { throw .readOnly }
        try await claiming(found.row.segment, in: directory) { prefix throws(FileError) in
            try await requireEmpty(prefix)
            try await deleteObject(prefix)
            await forgetTree(prefix)
        }
        if let number = existingInode(found.row.segment, in: directory) { await removeName(number) }
        await keepDirectory(directory)
        namesChanged(in: directory)
    }

    /// Asks the store, whatever is known: what somebody else has put there must not be orphaned.
    func requireEmpty(_ prefix: ObjectKey) async throws(FileError) {
        guard stagedFiles.files(below: prefix).isEmpty else { throw .notEmpty }
        do throws(StoreError) {
            var pages = Listing(store, ListRequest(prefix: prefix, delimiter: nil, keysMax: 2))
            while let page = try await pages.next() {
                if page.objects.contains(where: { $0.key != prefix || $0.record.sizeBytes > 0 }) {
                    throw StoreError.hasContent
                }
            }
        } catch {
            if error == .hasContent { throw .notEmpty }
            report("rmdir", prefix, error)
            throw FileError(error)
        }
    }

    /// Nothing of the file is sent until it is released or discarded. Of one that somebody has open, nothing is in an
    /// upload alone then.
    func hold(_ file: StagedFile, of number: UInt64?, _ operation: String) async throws(FileError) {
        do throws(UploadError) {
            while true {
                try await file.hold()
                guard file.isPunched, let number, openFiles.isOpen(number) else { return }
                file.release()
                try await file.flush()
            }
        } catch {
            throw failed(operation, file, error)
        }
    }

    func deleteObject(_ key: ObjectKey) async throws(FileError) {
        do throws(StoreError) {
            try await store.delete(key, version: nil, condition: .always)
        } catch {
            guard error.kind != .noSuchKey else { return }
            report("delete", key, error)
            throw FileError(error)
        }
    }

    func forgetTree(_ prefix: ObjectKey) async {
        do throws(MetadataError) {
            try await writer.forgetTree(below: prefix, at: .now())
        } catch {
            _ = failure("forgetting", prefix, error)
        }
    }

    /// A directory that nothing stands for but its objects stays when the last of them goes, as a directory does.
    func keepDirectory(_ directory: Directory) async {
        let prefix = directory.prefix
        guard directory.parent != nil, !directory.progress.withLock({ $0.hasMarker }) else { return }
        do throws(MetadataError) {
            guard try await reader.countPresent(below: prefix, since: .epoch, limit: 1) == 0,
                stagedFiles.files(below: prefix).isEmpty
            else { return }
        } catch {
            return _ = failure("unlink", prefix, error)
        }
        let draft = ObjectDraft(
            headers: ObjectHeaders(standard: ["content-type": "application/x-directory"]), condition: .isAbsent)
        do throws(StoreError) { _ = try await store.put(prefix, .bytes([]), draft) } catch {
            guard error.kind == .preconditionFailed else { return report("keeping the directory", prefix, error) }
        }
        directory.progress.withLock { $0.hasMarker = true }
    }

    // MARK: Inodes

    /// The inode of a name, if the kernel knows it.
    func existingInode(_ segment: [UInt8], in directory: Directory) -> UInt64? {
        var number = inodes.number(InodeNumber.of(segment, parent: directory.inode))
        while let inode = inodes[number] {
            if inode.isAt(segment, in: directory) { return number }
            number &+= 1
        }
        return nil
    }

    func removeName(_ number: UInt64) async {
        inodes.update(number) { $0.isRemoved = true }
        // Whoever waits for its restore is told soon, and not when that is looked at next.
        if let inode = inodes[number], openFiles.isOpen(number) {
            await restores.hasten(inode.key, version: inode.version)
        }
        // The last who had it open may have closed it while the copy for him was made.
        dropHidden(number)
    }

    // MARK: Hidden copies

    /// Before the object of an open file goes, or becomes another: it is copied to where its readers go on reading.
    /// A file of which all is here already needs none, and neither does a frozen one, which nobody can read. The caller
    /// holds one that is being changed.
    func hide(_ number: UInt64) async throws(FileError) {
        guard let inode = inodes[number], openFiles.isOpen(number) else { return }
        if let staged = inode.staged {
            guard staged.needsBase, let base = staged.base else { return }
            let source = CopySource(key: base.key, version: base.version, etag: base.etag)
            if let hidden = try await copyHidden(source, number) { staged.rebase(to: hidden.key, etag: hidden.etag) }
            return
        }
        guard let record = inode.record, record.sizeBytes > 0, context.state(of: record, at: .now()).isReadable,
            !inode.isKnownFrozen
        else { return }
        let source = CopySource(key: inode.key, etag: record.etag, record: record)
        guard let hidden = try await copyHidden(source, number) else { return }
        openFiles.move(number, from: record.etag, to: record) {
            contents.content(key: hidden.key, version: nil, etag: hidden.etag, sizeBytes: record.sizeBytes)
        }
    }

    /// Nil when there is nothing left to be copied, or it cannot be read anyway.
    private func copyHidden(
        _ source: CopySource, _ number: UInt64
    ) async throws(FileError) -> (key: ObjectKey, etag: String)? {
        let hidden = hiddenKey(for: source.key)
        do throws(MetadataError) { try await writer.addHidden(hidden) } catch {
            throw failure("hiding", source.key, error)
        }
        do throws(StoreError) {
            let copied = try await LargeCopy(store, notes: staging.notes).copy(source, to: hidden, nil)
            inodes.update(number) { $0.hiddenKeys.append(hidden) }
            return (hidden, copied.etag)
        } catch {
            await deleteHidden(hidden)
            switch error.kind {
            // What they have open is gone already.
            case .noSuchKey, .preconditionFailed, .invalidObjectState: return nil
            default:
                report("keeping the open file", source.key, error)
                throw FileError(error)
            }
        }
    }

    private func hiddenKey(for key: ObjectKey) -> ObjectKey {
        let name = ".fuse_hidden" + String(UInt64.random(in: .min ... .max), radix: 16)
        return key.directory + Array(name.utf8)
    }

    /// The last who had a removed file open has closed it.
    func dropHidden(_ number: UInt64) {
        guard inodes.update(number, { !$0.hiddenKeys.isEmpty }) ?? false, !openFiles.isOpen(number) else { return }
        let hidden = inodes.update(number) { inode in
            defer { inode.hiddenKeys = [] }
            return inode.hiddenKeys
        }
        Task { for key in hidden ?? [] { await deleteHidden(key) } }
    }

    /// Deletes the copies that an earlier mount left.
    package func deleteHiddenCopies() async {
        for hidden in writer.left.hiddenKeys { await deleteHidden(hidden) }
    }

    private func deleteHidden(_ key: ObjectKey) async {
        do throws(FileError) { try await deleteObject(key) } catch { return }
        do throws(MetadataError) { try await writer.dropHidden(key) } catch {
            _ = failure("deleting a hidden copy", key, error)
        }
    }
}

extension MetadataRow.Kind {
    var isObject: Bool { if case .object = self { true } else { false } }
}

extension StoreError {
    /// Not the store's: a listing found what must not be there.
    fileprivate static let hasContent = StoreError(.invalidRequest, code: "HasContent", message: "not empty")
}
