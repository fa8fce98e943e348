package import ObjectStore
internal import ThawCore
package import Wire

extension ObjectStore {
    /// Gives an object other attributes; its content, class and other headers stay. The store copies it onto itself.
    /// A frozen object fails with `invalidObjectState`, one that was replaced with `preconditionFailed`.
    package func replaceAttributes(
        _ source: CopySource, _ attributes: FileAttributes, notes: (any UploadNotes)?
    ) async throws(StoreError) -> ObjectRecord {
        let description = try await describe(source.key, version: source.version)
        guard source.etag == nil || description.record.etag == source.etag else { throw .replaced }
        var source = source
        source.etag = description.record.etag
        source.record = description.record
        let draft = ObjectDraft(
            headers: ObjectHeaders(
                metadata: attributes.merged(into: description.headers.metadata),
                standard: description.headers.standard),
            storageClass: description.record.storageClass)
        var record = try await LargeCopy(self, notes: notes).copy(source, to: source.key, draft)
        record.attributes = attributes
        return record
    }
}
