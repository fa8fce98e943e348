package import Backup
internal import Logging
package import Metadata
internal import Restore
internal import Synchronization
internal import ThawCore

/// Snapshots of Cloud Backup that are restored into directories of the mount.
extension Filesystem {
    /// Who does it: for the bucket of a mount that has Cloud Backup, before anything is asked of the filesystem. Takes
    /// up what an earlier mount left.
    package func useBackups(_ client: BackupClient, bucket: String) async throws(MetadataError) {
        let backups = BackupRestores(client: client, bucket: bucket, writer: writer, log: log) { [weak self] prefix in
            await self?.filesArrived(below: prefix)
        }
        try await backups.resume()
        self.backups.withLock { $0 = backups }
    }

    /// Has a snapshot restored into the directory. Answers once that is a promise.
    func restoreBackup(_ directory: Directory, _ text: String) async throws(FileError) {
        guard directory.view == .objects, let backups = backups.withLock({ $0 }) else {
            log.notice("restore into \(directory.prefix) refused: Cloud Backup restores into the bucket of an oss:// mount")
            throw .unsupported
        }
        if configuration.isReadOnly { throw .readOnly }
        do throws(BackupRefusal) {
            try await backups.begin(try BackupWish(parsing: text), below: directory.prefix)
        } catch {
            throw refused(directory, error)
        }
        forgetCounts(from: directory)
    }

    /// Answers false when there is no such restore.
    func cancelBackup(_ directory: Directory) async throws(FileError) -> Bool {
        do throws(BackupRefusal) {
            return try await backups.withLock({ $0 })?.cancel(below: directory.prefix) ?? false
        } catch {
            throw refused(directory, error)
        }
    }

    /// What `user.thaw.restore` of the directory says of it besides the counts.
    func backupStanding(_ directory: Directory) async -> BackupStanding? {
        await backups.withLock({ $0 })?.standing(of: directory.prefix)
    }

    private func refused(_ directory: Directory, _ refusal: BackupRefusal) -> FileError {
        switch refusal {
        case .invalid(let reason):
            log.notice("restore into \(directory.prefix) refused: \(reason)")
            return .invalid
        case .busy:
            log.notice(
                "restore into \(directory.prefix) refused: another snapshot is being restored into it; setfattr -x user.thaw.restore cancels that"
            )
            return .busy
        case .notRemembered(let cause):
            log.error("restore into \(directory.prefix) was not sent, because it cannot be remembered: \(cause)")
            return .io
        }
    }

    /// Somebody else has made files below the directory: whoever looks at it asks the store.
    private func filesArrived(below prefix: ObjectKey) async {
        do throws(MetadataError) { try await writer.expireTree(prefix, at: .now()) } catch {
            log.error("what is cached of \(prefix) cannot be forgotten; its files show when metadata_ttl is over: \(error)")
        }
        let directories = inodes.withLock { inodes in
            inodes.values.compactMap(\.directory).filter { $0.view == .objects && $0.prefix.hasPrefix(prefix) }
        }
        for directory in directories {
            directory.progress.withLock { $0 = Directory.Progress() }
        }
        forgetNames(in: directories)
        let above = inodes.withLock { inodes in
            inodes.values.compactMap(\.directory).first { $0.prefix == prefix && $0.view == .objects }?.parent
        }
        forgetCounts(from: above)
    }
}
