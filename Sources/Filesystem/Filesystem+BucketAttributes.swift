internal import Logging
internal import ObjectStore
internal import ThawCore
package import Wire

extension Filesystem {
    // MARK: `user.thaw.bucket.NAME` of a bucket's directory: commands, never listed

    /// More than this the kernel does not pass on (XATTR_SIZE_MAX).
    private static let attributeMaxBytes = 65_536

    package func bucketAttribute(
        _ number: UInt64, _ configuration: BucketConfiguration
    ) async throws(FileError) -> [UInt8] {
        guard let place = try bucket(number) else { throw .noSuchAttribute }
        let value = try await performing(configuration, place) { () async throws(StoreError) in
            try await store.configuration(configuration, of: place)
        }
        guard value.count <= Self.attributeMaxBytes else {
            let source = source(of: place)
            log.warning(
                """
                user.thaw.bucket.\(configuration.name) of \(source) is of \(value.count) bytes, too long for an \
                attribute; thawfs bucket config get \(source) \(configuration.name) shows it
                """)
            throw .tooLongForAttribute
        }
        return value
    }

    package func setBucketAttribute(
        _ number: UInt64, _ configuration: BucketConfiguration, value: [UInt8]
    ) async throws(FileError) {
        let place = try changeableBucket(number)
        _ = try await performing(configuration, place) { () async throws(StoreError) in
            try await store.setConfiguration(configuration, value, of: place)
        }
    }

    package func removeBucketAttribute(
        _ number: UInt64, _ configuration: BucketConfiguration
    ) async throws(FileError) {
        let place = try changeableBucket(number)
        try await performing(configuration, place) { () async throws(StoreError) in
            try await store.deleteConfiguration(configuration, of: place)
        }
    }

    /// The bucket that the inode stands for, as a key of the store; nil for files and other directories.
    private func bucket(_ number: UInt64) throws(FileError) -> ObjectKey? {
        guard let inode = inodes[number] else { throw .stale }
        guard let directory = inode.directory, directory.view == .objects else { return nil }
        let place = directory.prefix
        guard store.hasFixedTopLevel else { return place.isEmpty ? place : nil }
        return place.bytes.firstIndex(of: UInt8(ascii: "/")) == place.bytes.count - 1 ? place : nil
    }

    private func changeableBucket(_ number: UInt64) throws(FileError) -> ObjectKey {
        guard let place = try bucket(number) else { throw .unsupported }
        // It is no restore, which reads may need: it changes what everybody has.
        guard !configuration.isReadOnly else { throw .readOnly }
        return place
    }

    private func performing<Value: Sendable>(
        _ configuration: BucketConfiguration, _ place: ObjectKey,
        _ body: () async throws(StoreError) -> Value
    ) async throws(FileError) -> Value {
        do throws(StoreError) {
            return try await body()
        } catch {
            if error.kind != .noSuchConfiguration, error.kind != .cancelled {
                log.warning("user.thaw.bucket.\(configuration.name) of \(source(of: place)): \(error)")
            }
            throw error.kind == .invalidRequest ? .invalid : FileError(error)
        }
    }

    /// As `thawfs bucket` takes it.
    private func source(of place: ObjectKey) -> String {
        let bucket = place.isEmpty ? configuration.bucket ?? "" : place.description.dropLast().description
        return "\(store.dialect.rawValue)://\(bucket)"
    }
}
