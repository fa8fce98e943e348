internal import ObjectStore
package import ThawCore
internal import Upload
internal import Wire

extension Filesystem {
    // MARK: Extended attributes that are not ours, all below `user.`

    package func extendedAttribute(_ number: UInt64, _ name: String) async throws(FileError) -> [UInt8] {
        guard let value = try await knownAttributes(number).extended[name] else { throw .noSuchAttribute }
        return value
    }

    package func extendedAttributeNames(_ number: UInt64) async throws(FileError) -> [String] {
        try await knownAttributes(number).extended.keys.sorted()
    }

    /// `create`: fails with `alreadyExists` where it is there; `replace`: with `noSuchAttribute` where it is not.
    package func setExtendedAttribute(
        _ number: UInt64, _ name: String, value: [UInt8], create: Bool, replace: Bool, caller: Caller
    ) async throws(FileError) {
        try await change(number) { attributes throws(FileError) in
            if create, attributes.extended[name] != nil { throw .alreadyExists }
            if replace, attributes.extended[name] == nil { throw .noSuchAttribute }
            attributes.extended[name] = value
        }
    }

    package func removeExtendedAttribute(_ number: UInt64, _ name: String, caller: Caller) async throws(FileError) {
        try await change(number) { attributes throws(FileError) in
            guard attributes.extended.removeValue(forKey: name) != nil else { throw .noSuchAttribute }
        }
    }

    private func change(
        _ number: UInt64, _ change: (inout FileAttributes) throws(FileError) -> Void
    ) async throws(FileError) {
        guard let inode = inodes[number] else { throw .stale }
        guard (inode.directory?.view ?? inode.home?.view) == .objects, inode.version == nil else { throw .readOnly }
        if inode.directory == nil {
            try await changeAttributes(of: number, change)
        } else {
            try await changeAttributes(ofDirectory: number, inode, change)
        }
    }

    /// Whoever asks for an attribute by name gets what the object's headers say, though listings do not tell.
    private func knownAttributes(_ number: UInt64) async throws(FileError) -> FileAttributes {
        guard let inode = inodes[number] else { throw .stale }
        if let staged = inode.staged { return staged.attributes }
        if let directory = inode.directory {
            guard directory.view == .objects else { return FileAttributes() }
            if let known = inode.attributes { return known }
            return try await markerAttributes(number, directory)
        }
        let record = try await freshRecord(number)
        if let known = record.attributes { return known }
        guard let home = inode.home else { return FileAttributes() }
        return try await head(inode.segment, in: home).attributes ?? FileAttributes()
    }

    private func markerAttributes(_ number: UInt64, _ directory: Directory) async throws(FileError) -> FileAttributes {
        guard !directory.prefix.isEmpty else { return FileAttributes() }
        do throws(StoreError) {
            let attributes = try await store.head(directory.prefix, version: nil).attributes ?? FileAttributes()
            inodes.update(number) { $0.attributes = attributes }
            return attributes
        } catch {
            guard error.kind == .noSuchKey else { throw FileError(error) }
            // Nothing stands for it but its objects.
            inodes.update(number) { $0.attributes = nil }
            return FileAttributes()
        }
    }
}
