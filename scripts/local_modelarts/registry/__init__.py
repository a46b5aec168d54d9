"""The image registry behind SWR: its process, certificates, logins and client."""
