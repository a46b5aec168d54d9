"""The API of SWR: organizations, repositories, tags, logins."""
