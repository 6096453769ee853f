"""Programs that make a journey with a real client: steps come on standard input as JSON.

`PROGRAM URL ERA`, where ERA is `legacy` (the handshake of revisions up to 2025-11-25) or `modern`.
Each step names a verb; its outcome is written to standard output in the same place of a list.
A verb means the same in every program, so that one table of steps serves all clients.
"""
