internal import Logging
internal import ObjectStore
internal import Restore
internal import ThawCore
internal import Upload
internal import Wire

extension Filesystem {
    /// Gives a file, or all files below a directory, another storage class: the store copies each onto itself. An
    /// archive class freezes it; a restored file is unfrozen for good by a class that is none.
    func transition(_ number: UInt64, to text: String) async throws(FileError) {
        guard let inode = inodes[number] else { throw .stale }
        guard (inode.directory?.view ?? inode.home?.view) == .objects, inode.version == nil else { throw .unsupported }
        guard store.dialect != .cos else {
            log.notice("\(inode.key): IBM COS changes classes by the bucket's lifecycle rules only, which archive new objects")
            throw .unsupported
        }
        guard let storageClass = StorageClass(spelledLike: text, in: store.dialect) else {
            let known = StorageClass.known(in: store.dialect).map(\.name).joined(separator: ", ")
            log.notice("\(inode.key): there is no storage class “\(text)”; there are \(known)")
            throw .invalid
        }
        let prefix = inode.directory?.prefix
        for file in prefix.map(stagedFiles.files(below:)) ?? inode.staged.map({ [$0] }) ?? [] {
            do throws(UploadError) { try await file.flush() } catch { throw failed("transition", file, error) }
        }
        do throws(TreeCopyError) {
            if let prefix {
                try await trees.transition(below: prefix, to: storageClass) { [self] key, record in
                    await isFrozen(key, record)
                } changed: { [self] key, record in
                    await learned(key, version: nil, record)
                }
            } else if let record = try await trees.transition(inode.key, to: storageClass) {
                await learned(inode.key, version: nil, record)
            }
        } catch {
            throw failedTree("transition", prefix ?? inode.key, error)
        }
    }
}
